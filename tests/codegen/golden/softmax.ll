@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, <16 x i1>, <16 x float>)
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.7 = alloca i64
  %.16 = alloca <64 x float>
  %.17 = alloca <16 x float>
  %.18 = alloca i64
  %.98 = alloca <16 x float>
  %.99 = alloca <16 x float>
  %.100 = alloca double
  %.106 = alloca i64
  %.231 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 4
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 5
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.units = getelementptr i64, ptr %record, i64 7
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 8
  %grain = load i64, ptr %at.grain, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = icmp sgt i64 %n1, 0
  %.4 = mul i64 %number, %grain
  %.5 = add i64 %.4, %grain
  %.6 = call i64 @llvm.smin.i64(i64 %.5, i64 %units)
  store i64 %.4, ptr %.7
  %.9 = icmp slt i64 %.4, %.6
  br i1 %.9, label %loop.8, label %done.8
loop.8:
  %.10 = phi i64 [ %.4, %entry ], [ %.266, %done.247 ]
  %.11 = load i64, ptr %.7
  %.12 = mul i64 %.11, %.1
  %.13 = getelementptr i8, ptr %out.ptr, i64 %.12
  %.14 = mul i64 %.11, %.2
  %.15 = getelementptr i8, ptr %x.ptr, i64 %.14
  store <64 x float> splat (float 0xFFF0000000000000), ptr %.16
  store <16 x float> splat (float 0xFFF0000000000000), ptr %.17
  store i64 0, ptr %.18
  %.20 = sub i64 %n1, 64
  %.21 = add i64 %.20, 1
  %.22 = icmp slt i64 0, %.21
  br i1 %.22, label %loop.19, label %done.19
loop.19:
  %.23 = phi i64 [ 0, %loop.8 ], [ %.33, %loop.19 ]
  %.24 = mul i64 %.23, 4
  %.25 = getelementptr i8, ptr %.15, i64 %.24
  %.26 = load <64 x float>, ptr %.25, align 4
  %.27 = load <64 x float>, ptr %.16
  %.28 = fcmp ogt <64 x float> %.27, %.26
  %.29 = select <64 x i1> %.28, <64 x float> %.27, <64 x float> %.26
  %.30 = fcmp uno <64 x float> %.27, %.27
  %.31 = select <64 x i1> %.30, <64 x float> %.27, <64 x float> %.29
  store <64 x float> %.31, ptr %.16
  %.32 = add i64 %.23, 64
  store i64 %.32, ptr %.18
  %.33 = add i64 %.23, 64
  %.34 = icmp slt i64 %.33, %.21
  br i1 %.34, label %loop.19, label %done.19
done.19:
  %.35 = load i64, ptr %.18
  %.37 = icmp slt i64 %.35, %n1
  br i1 %.37, label %loop.36, label %done.36
loop.36:
  %.38 = phi i64 [ %.35, %done.19 ], [ %.54, %loop.36 ]
  %.39 = sub i64 %n1, %.38
  %.40 = call i64 @llvm.smin.i64(i64 %.39, i64 16)
  %.41 = sub i64 16, %.40
  %.42 = trunc i64 %.41 to i16
  %.43 = lshr i16 -1, %.42
  %.44 = bitcast i16 %.43 to <16 x i1>
  %.45 = mul i64 %.38, 4
  %.46 = getelementptr i8, ptr %.15, i64 %.45
  %.47 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.46, <16 x i1> %.44, <16 x float> zeroinitializer)
  %.48 = load <16 x float>, ptr %.17
  %.49 = select <16 x i1> %.44, <16 x float> %.47, <16 x float> splat (float 0xFFF0000000000000)
  %.50 = fcmp ogt <16 x float> %.48, %.49
  %.51 = select <16 x i1> %.50, <16 x float> %.48, <16 x float> %.49
  %.52 = fcmp uno <16 x float> %.48, %.48
  %.53 = select <16 x i1> %.52, <16 x float> %.48, <16 x float> %.51
  store <16 x float> %.53, ptr %.17
  %.54 = add i64 %.38, 16
  %.55 = icmp slt i64 %.54, %n1
  br i1 %.55, label %loop.36, label %done.36
done.36:
  %.56 = load <64 x float>, ptr %.16
  %.57 = shufflevector <64 x float> %.56, <64 x float> poison, <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %.58 = shufflevector <64 x float> %.56, <64 x float> poison, <32 x i32> <i32 32, i32 33, i32 34, i32 35, i32 36, i32 37, i32 38, i32 39, i32 40, i32 41, i32 42, i32 43, i32 44, i32 45, i32 46, i32 47, i32 48, i32 49, i32 50, i32 51, i32 52, i32 53, i32 54, i32 55, i32 56, i32 57, i32 58, i32 59, i32 60, i32 61, i32 62, i32 63>
  %.59 = fcmp ogt <32 x float> %.57, %.58
  %.60 = select <32 x i1> %.59, <32 x float> %.57, <32 x float> %.58
  %.61 = fcmp uno <32 x float> %.57, %.57
  %.62 = select <32 x i1> %.61, <32 x float> %.57, <32 x float> %.60
  %.63 = shufflevector <32 x float> %.62, <32 x float> poison, <16 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.64 = shufflevector <32 x float> %.62, <32 x float> poison, <16 x i32> <i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %.65 = fcmp ogt <16 x float> %.63, %.64
  %.66 = select <16 x i1> %.65, <16 x float> %.63, <16 x float> %.64
  %.67 = fcmp uno <16 x float> %.63, %.63
  %.68 = select <16 x i1> %.67, <16 x float> %.63, <16 x float> %.66
  %.69 = load <16 x float>, ptr %.17
  %.70 = fcmp ogt <16 x float> %.68, %.69
  %.71 = select <16 x i1> %.70, <16 x float> %.68, <16 x float> %.69
  %.72 = fcmp uno <16 x float> %.68, %.68
  %.73 = select <16 x i1> %.72, <16 x float> %.68, <16 x float> %.71
  %.74 = shufflevector <16 x float> %.73, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.75 = shufflevector <16 x float> %.73, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.76 = fcmp ogt <8 x float> %.74, %.75
  %.77 = select <8 x i1> %.76, <8 x float> %.74, <8 x float> %.75
  %.78 = fcmp uno <8 x float> %.74, %.74
  %.79 = select <8 x i1> %.78, <8 x float> %.74, <8 x float> %.77
  %.80 = shufflevector <8 x float> %.79, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %.81 = shufflevector <8 x float> %.79, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %.82 = fcmp ogt <4 x float> %.80, %.81
  %.83 = select <4 x i1> %.82, <4 x float> %.80, <4 x float> %.81
  %.84 = fcmp uno <4 x float> %.80, %.80
  %.85 = select <4 x i1> %.84, <4 x float> %.80, <4 x float> %.83
  %.86 = shufflevector <4 x float> %.85, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %.87 = shufflevector <4 x float> %.85, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %.88 = fcmp ogt <2 x float> %.86, %.87
  %.89 = select <2 x i1> %.88, <2 x float> %.86, <2 x float> %.87
  %.90 = fcmp uno <2 x float> %.86, %.86
  %.91 = select <2 x i1> %.90, <2 x float> %.86, <2 x float> %.89
  %.92 = extractelement <2 x float> %.91, i64 0
  %.93 = extractelement <2 x float> %.91, i64 1
  %.94 = fcmp ogt float %.92, %.93
  %.95 = select i1 %.94, float %.92, float %.93
  %.96 = fcmp uno float %.92, %.92
  %.97 = select i1 %.96, float %.92, float %.95
  store double 0x8000000000000000, ptr %.100
  %.102 = icmp slt i64 0, %n1
  br i1 %.102, label %loop.101, label %done.101
loop.101:
  %.103 = phi i64 [ 0, %done.36 ], [ %.226, %done.156 ]
  %.104 = add i64 %.103, 1024
  %.105 = call i64 @llvm.smin.i64(i64 %.104, i64 %n1)
  store <16 x float> splat (float 0x8000000000000000), ptr %.98
  store <16 x float> splat (float 0x8000000000000000), ptr %.99
  store i64 %.103, ptr %.106
  %.108 = sub i64 %.105, 16
  %.109 = add i64 %.108, 1
  %.110 = icmp slt i64 %.103, %.109
  br i1 %.110, label %loop.107, label %done.107
loop.107:
  %.111 = phi i64 [ %.103, %loop.101 ], [ %.153, %loop.107 ]
  %.112 = mul i64 %.111, 4
  %.113 = getelementptr i8, ptr %.15, i64 %.112
  %.114 = load <16 x float>, ptr %.113, align 4
  %.115 = insertelement <16 x float> poison, float %.97, i64 0
  %.116 = shufflevector <16 x float> %.115, <16 x float> poison, <16 x i32> zeroinitializer
  %.117 = fsub <16 x float> %.114, %.116
  %.118 = fcmp olt <16 x float> %.117, splat (float 0xC05A000000000000)
  %.119 = select <16 x i1> %.118, <16 x float> splat (float 0xC05A000000000000), <16 x float> %.117
  %.120 = fcmp ogt <16 x float> %.119, splat (float 0x4056400000000000)
  %.121 = select <16 x i1> %.120, <16 x float> splat (float 0x4056400000000000), <16 x float> %.119
  %.122 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.121, <16 x float> splat (float 0x3FF7154760000000), <16 x float> splat (float 0x4168001FC0000000))
  %.123 = fsub <16 x float> %.122, splat (float 0x4168001FC0000000)
  %.124 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.123, <16 x float> splat (float 0xBFE62E4300000000), <16 x float> %.121)
  %.125 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.123, <16 x float> splat (float 0x3E205C6100000000), <16 x float> %.124)
  %.126 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3F56DBE6E0000000), <16 x float> %.125, <16 x float> splat (float 0x3F81241480000000))
  %.127 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.126, <16 x float> %.125, <16 x float> splat (float 0x3FA5554520000000))
  %.128 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.127, <16 x float> %.125, <16 x float> splat (float 0x3FC5554860000000))
  %.129 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.128, <16 x float> %.125, <16 x float> splat (float 0x3FE0000000000000))
  %.130 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.129, <16 x float> %.125, <16 x float> splat (float 0x3FF0000000000000))
  %.131 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.130, <16 x float> %.125, <16 x float> splat (float 0x3FF0000000000000))
  %.132 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.123, <16 x float> splat (float 0x3FE0000000000000), <16 x float> splat (float 0x4168000FE0000000))
  %.133 = bitcast <16 x float> %.132 to <16 x i32>
  %.134 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.135 = select <16 x i1> %.134, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.136 = shl <16 x i32> %.133, %.135
  %.137 = select <16 x i1> %.134, <16 x i32> %.136, <16 x i32> splat (i32 0)
  %.138 = bitcast <16 x i32> %.137 to <16 x float>
  %.139 = fmul <16 x float> %.131, %.138
  %.140 = bitcast <16 x float> %.122 to <16 x i32>
  %.141 = sub <16 x i32> %.140, %.133
  %.142 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.143 = select <16 x i1> %.142, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.144 = shl <16 x i32> %.141, %.143
  %.145 = select <16 x i1> %.142, <16 x i32> %.144, <16 x i32> splat (i32 0)
  %.146 = bitcast <16 x i32> %.145 to <16 x float>
  %.147 = fmul <16 x float> %.139, %.146
  %.148 = load <16 x float>, ptr %.98
  %.149 = fadd <16 x float> %.148, %.147
  store <16 x float> %.149, ptr %.98
  %.150 = mul i64 %.111, 4
  %.151 = getelementptr i8, ptr %.13, i64 %.150
  store <16 x float> %.147, ptr %.151, align 4
  %.152 = add i64 %.111, 16
  store i64 %.152, ptr %.106
  %.153 = add i64 %.111, 16
  %.154 = icmp slt i64 %.153, %.109
  br i1 %.154, label %loop.107, label %done.107
done.107:
  %.155 = load i64, ptr %.106
  %.157 = icmp slt i64 %.155, %.105
  br i1 %.157, label %loop.156, label %done.156
loop.156:
  %.158 = phi i64 [ %.155, %done.107 ], [ %.206, %loop.156 ]
  %.159 = sub i64 %.105, %.158
  %.160 = call i64 @llvm.smin.i64(i64 %.159, i64 16)
  %.161 = sub i64 16, %.160
  %.162 = trunc i64 %.161 to i16
  %.163 = lshr i16 -1, %.162
  %.164 = bitcast i16 %.163 to <16 x i1>
  %.165 = mul i64 %.158, 4
  %.166 = getelementptr i8, ptr %.15, i64 %.165
  %.167 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.166, <16 x i1> %.164, <16 x float> zeroinitializer)
  %.168 = insertelement <16 x float> poison, float %.97, i64 0
  %.169 = shufflevector <16 x float> %.168, <16 x float> poison, <16 x i32> zeroinitializer
  %.170 = fsub <16 x float> %.167, %.169
  %.171 = fcmp olt <16 x float> %.170, splat (float 0xC05A000000000000)
  %.172 = select <16 x i1> %.171, <16 x float> splat (float 0xC05A000000000000), <16 x float> %.170
  %.173 = fcmp ogt <16 x float> %.172, splat (float 0x4056400000000000)
  %.174 = select <16 x i1> %.173, <16 x float> splat (float 0x4056400000000000), <16 x float> %.172
  %.175 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.174, <16 x float> splat (float 0x3FF7154760000000), <16 x float> splat (float 0x4168001FC0000000))
  %.176 = fsub <16 x float> %.175, splat (float 0x4168001FC0000000)
  %.177 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.176, <16 x float> splat (float 0xBFE62E4300000000), <16 x float> %.174)
  %.178 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.176, <16 x float> splat (float 0x3E205C6100000000), <16 x float> %.177)
  %.179 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3F56DBE6E0000000), <16 x float> %.178, <16 x float> splat (float 0x3F81241480000000))
  %.180 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.179, <16 x float> %.178, <16 x float> splat (float 0x3FA5554520000000))
  %.181 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.180, <16 x float> %.178, <16 x float> splat (float 0x3FC5554860000000))
  %.182 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.181, <16 x float> %.178, <16 x float> splat (float 0x3FE0000000000000))
  %.183 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.182, <16 x float> %.178, <16 x float> splat (float 0x3FF0000000000000))
  %.184 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.183, <16 x float> %.178, <16 x float> splat (float 0x3FF0000000000000))
  %.185 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.176, <16 x float> splat (float 0x3FE0000000000000), <16 x float> splat (float 0x4168000FE0000000))
  %.186 = bitcast <16 x float> %.185 to <16 x i32>
  %.187 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.188 = select <16 x i1> %.187, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.189 = shl <16 x i32> %.186, %.188
  %.190 = select <16 x i1> %.187, <16 x i32> %.189, <16 x i32> splat (i32 0)
  %.191 = bitcast <16 x i32> %.190 to <16 x float>
  %.192 = fmul <16 x float> %.184, %.191
  %.193 = bitcast <16 x float> %.175 to <16 x i32>
  %.194 = sub <16 x i32> %.193, %.186
  %.195 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.196 = select <16 x i1> %.195, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.197 = shl <16 x i32> %.194, %.196
  %.198 = select <16 x i1> %.195, <16 x i32> %.197, <16 x i32> splat (i32 0)
  %.199 = bitcast <16 x i32> %.198 to <16 x float>
  %.200 = fmul <16 x float> %.192, %.199
  %.201 = load <16 x float>, ptr %.99
  %.202 = select <16 x i1> %.164, <16 x float> %.200, <16 x float> splat (float 0x8000000000000000)
  %.203 = fadd <16 x float> %.201, %.202
  store <16 x float> %.203, ptr %.99
  %.204 = mul i64 %.158, 4
  %.205 = getelementptr i8, ptr %.13, i64 %.204
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.200, ptr align 4 %.205, <16 x i1> %.164)
  %.206 = add i64 %.158, 16
  %.207 = icmp slt i64 %.206, %.105
  br i1 %.207, label %loop.156, label %done.156
done.156:
  %.208 = load <16 x float>, ptr %.98
  %.209 = load <16 x float>, ptr %.99
  %.210 = fadd <16 x float> %.208, %.209
  %.211 = shufflevector <16 x float> %.210, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.212 = shufflevector <16 x float> %.210, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.213 = fadd <8 x float> %.211, %.212
  %.214 = shufflevector <8 x float> %.213, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %.215 = shufflevector <8 x float> %.213, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %.216 = fadd <4 x float> %.214, %.215
  %.217 = shufflevector <4 x float> %.216, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %.218 = shufflevector <4 x float> %.216, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %.219 = fadd <2 x float> %.217, %.218
  %.220 = extractelement <2 x float> %.219, i64 0
  %.221 = extractelement <2 x float> %.219, i64 1
  %.222 = fadd float %.220, %.221
  %.223 = fpext float %.222 to double
  %.224 = load double, ptr %.100
  %.225 = fadd double %.224, %.223
  store double %.225, ptr %.100
  %.226 = add i64 %.103, 1024
  %.227 = icmp slt i64 %.226, %n1
  br i1 %.227, label %loop.101, label %done.101
done.101:
  %.228 = load double, ptr %.100
  %.229 = fptrunc double %.228 to float
  %.230 = select i1 %.3, float %.229, float 0x0000000000000000
  store i64 0, ptr %.231
  %.233 = sub i64 %n1, 64
  %.234 = add i64 %.233, 1
  %.235 = icmp slt i64 0, %.234
  br i1 %.235, label %loop.232, label %done.232
loop.232:
  %.236 = phi i64 [ 0, %done.101 ], [ %.244, %loop.232 ]
  %.237 = mul i64 %.236, 4
  %.238 = getelementptr i8, ptr %.13, i64 %.237
  %.239 = load <64 x float>, ptr %.238, align 4
  %.240 = insertelement <64 x float> poison, float %.230, i64 0
  %.241 = shufflevector <64 x float> %.240, <64 x float> poison, <64 x i32> zeroinitializer
  %.242 = fdiv <64 x float> %.239, %.241
  store <64 x float> %.242, ptr %.238, align 4
  %.243 = add i64 %.236, 64
  store i64 %.243, ptr %.231
  %.244 = add i64 %.236, 64
  %.245 = icmp slt i64 %.244, %.234
  br i1 %.245, label %loop.232, label %done.232
done.232:
  %.246 = load i64, ptr %.231
  %.248 = icmp slt i64 %.246, %n1
  br i1 %.248, label %loop.247, label %done.247
loop.247:
  %.249 = phi i64 [ %.246, %done.232 ], [ %.262, %loop.247 ]
  %.250 = sub i64 %n1, %.249
  %.251 = call i64 @llvm.smin.i64(i64 %.250, i64 16)
  %.252 = sub i64 16, %.251
  %.253 = trunc i64 %.252 to i16
  %.254 = lshr i16 -1, %.253
  %.255 = bitcast i16 %.254 to <16 x i1>
  %.256 = mul i64 %.249, 4
  %.257 = getelementptr i8, ptr %.13, i64 %.256
  %.258 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.257, <16 x i1> %.255, <16 x float> zeroinitializer)
  %.259 = insertelement <16 x float> poison, float %.230, i64 0
  %.260 = shufflevector <16 x float> %.259, <16 x float> poison, <16 x i32> zeroinitializer
  %.261 = fdiv <16 x float> %.258, %.260
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.261, ptr align 4 %.257, <16 x i1> %.255)
  %.262 = add i64 %.249, 16
  %.263 = icmp slt i64 %.262, %n1
  br i1 %.263, label %loop.247, label %done.247
done.247:
  %.264 = load i64, ptr %.7
  %.265 = add i64 %.264, 1
  store i64 %.265, ptr %.7
  %.266 = add i64 %.10, 1
  %.267 = icmp slt i64 %.266, %.6
  br i1 %.267, label %loop.8, label %done.8
done.8:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0) #0 {
entry:
  %record = alloca [18 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %out.s0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %x.s0, ptr %.6, align 8
  %.7 = icmp eq i64 %n0, 0
  br i1 %.7, label %leave, label %work
work:
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 10
  store i64 1, ptr %.11, align 8
  %.12 = mul i64 %n0, %n1
  %.13 = icmp sgt i64 %.12, 15999
  br i1 %.13, label %then.14, label %done.14
then.14:
  %.15 = mul i64 1, %n1
  %.16 = call i64 @llvm.smax.i64(i64 %.15, i64 1)
  %.17 = udiv i64 6336, %.16
  %.18 = call i64 @llvm.smax.i64(i64 %.17, i64 1)
  %.19 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.19, align 8
  %.20 = getelementptr i64, ptr %record, i64 8
  store i64 %.18, ptr %.20, align 8
  %.21 = sub i64 %.18, 1
  %.22 = add i64 %n0, %.21
  %.23 = udiv i64 %.22, %.18
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.14
done.14:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
