"""What is imported when it is first used: names of `torch`, each with its submodule; who makes the notes of errors."""

from facula.errors import EXPLAINER

__all__ = ["LATER", "REFUSED"]

_STORAGES = (
    "BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage DoubleStorage "
    "FloatStorage HalfStorage IntStorage LongStorage ShortStorage TypedStorage UntypedStorage"
)
# What makes sense with PyTorch's own internals alone: why it is refused, and its names.
REFUSED = {
    "facula has no quantized tensors": (
        "choose_qparams_optimized empty_quantized fake_quantize_per_channel_affine fake_quantize_per_tensor_affine "
        "fused_moving_avg_obs_fake_quant int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points "
        "q_scale q_zero_point quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic "
        "quantized_batch_norm quantized_gru quantized_gru_cell quantized_lstm quantized_lstm_cell "
        "quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d quantized_rnn_relu_cell "
        "quantized_rnn_tanh_cell fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation "
        "fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight "
        "fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix"
    ),
    "it calls one library of PyTorch by name; torch.nn.functional has the operator": (
        "cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu "
        "cudnn_convolution_relu cudnn_convolution_transpose cudnn_grid_sampler cudnn_is_acceptable "
        "miopen_batch_norm miopen_convolution miopen_convolution_add_relu miopen_convolution_relu "
        "miopen_convolution_transpose miopen_ctc_loss miopen_depthwise_convolution miopen_rnn "
        "mkldnn_adaptive_avg_pool2d mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d "
        "mkldnn_max_pool3d mkldnn_rnn_layer"
    ),
    "it is a part of batch normalization over several GPUs": (
        "batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats "
        "batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats"
    ),
    "facula has no TorchScript": (
        "fork import_ir_module import_ir_module_from_buffer merge_type_from_type_comment parse_ir parse_schema "
        "parse_type_comment unify_type_list wait"
    ),
    "it serves the functionalization of PyTorch's compiler": (
        "slice_inverse sym_constrain_range sym_constrain_range_for_size sym_fresh_size"
    ),
    "it makes or reads a compressed sparse layout (CSR, CSC, BSR, BSC); facula's sparse tensors are COO": (
        "ccol_indices_copy col_indices_copy crow_indices_copy row_indices_copy sparse_bsc_tensor sparse_bsr_tensor "
        "sparse_compressed_tensor sparse_csc_tensor sparse_csr_tensor"
    ),
    "it serves PyTorch's profiler": "profiler_allow_cudagraph_cupti_lazy_reinit_cuda12",
}
_SYMBOLIC = "SymBool SymFloat SymInt sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum"
LATER = {
    name: module
    for module, names in (
        ("operators.storages", _STORAGES), ("serialization", "load save"), ("random", "thread_safe_generator"),
        ("refused", " ".join(REFUSED.values())), ("symbolic", _SYMBOLIC), ("amp", "GradScaler"), ("showing", "show"),
        ("explain.watching", "watch"), ("compiler", "compile cond while_loop"),
        ("streams", "Event Stream get_device_module"), ("errors", "AcceleratorError OutOfMemoryError"),
        ("nn.recurrent", "gru lstm rnn_relu rnn_tanh"),
        ("oldnames", "frobenius_norm has_lapack has_mkl has_openmp has_spectral legacy_contiguous_format "
            "norm_except_dim nuclear_norm orgqr Storage"),
    )
    for name in names.split()
}  # fmt: skip


def _explain(*facts) -> list[str]:
    """What `facula/explain/` has to say of an error; it is imported at the first one."""
    from facula.explain import notes

    EXPLAINER[:] = [notes]
    return notes(*facts)


EXPLAINER[:] = [_explain]
