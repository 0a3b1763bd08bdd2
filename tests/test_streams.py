"""Streams and events of a processor, its module, and that there is no accelerator."""

import pytest

import facula as torch


def test_a_processor_has_one_stream_and_no_events(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    stream, event = torch.Stream("cpu"), torch.Event(enable_timing=True)
    assert stream == torch.Stream() and hash(stream) == hash(torch.Stream()) and stream.query() and event.query()
    assert repr(stream) == "torch.Stream device_type=cpu, device_index=-1, stream_id=0"
    assert repr(event) == "torch.Event device_type=cpu, device_index=-1, event_flag=1, event_id=0"
    with stream:
        stream.synchronize()
    for call in (event.record, stream.record_event, lambda: stream.wait_stream(stream)):
        with pytest.raises(RuntimeError, match="cpu backend doesn't support events"):
            call()
    with pytest.raises(ValueError, match="enable_timing=True"):
        event.elapsed_time(torch.Event())
    with pytest.raises(RuntimeError, match="not linked with support for meta devices"):
        torch.Stream("meta")


def test_modules_of_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch.get_device_module() is torch.cpu and torch.get_device_module("cuda") is torch.cuda
    with pytest.raises(RuntimeError, match="'meta' does not have a corresponding module"):
        torch.get_device_module("meta")
    with pytest.raises(RuntimeError, match="Invalid value of device '3'"):
        torch.get_device_module(3)
    assert torch.cpu.device_count() == 1 and torch.cpu.is_available() and torch.cpu.current_device() == "cpu"
    assert isinstance(torch.cpu.get_capabilities()["architecture"], str)
    mine, before = torch.cpu.Stream(), torch.cpu.current_stream()
    with torch.cpu.stream(mine):
        assert torch.cpu.current_stream() is mine
    assert torch.cpu.current_stream() is before


def test_a_gpu_has_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority: ("stream", device, priority))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing=False: ("event", enable_timing))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 3)
    assert torch.Stream("cuda", priority=1) == ("stream", "cuda", 1) and torch.Stream() == ("stream", None, 0)
    assert torch.Event(enable_timing=True) == ("event", True) and torch.Event("cpu").query()
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert torch.accelerator.memory_allocated() == 3 and torch.get_device_module() is torch.cuda


def test_there_is_no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
        torch.accelerator.synchronize()


def test_types_that_programs_name():
    assert issubclass(torch.OutOfMemoryError, RuntimeError) and issubclass(torch.AcceleratorError, RuntimeError)
    assert not isinstance(3, (torch.SymInt, torch.SymFloat, torch.SymBool))
    with pytest.raises(NotImplementedError, match="torch.SymInt is not implemented"):
        torch.SymInt(3)
