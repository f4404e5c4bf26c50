"""Devices, memory and allocators as ONNX Runtime describes them. mezzo has one device, the CPU, and one pool of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import errors
from ._core import version
from .enums import (
    OrtAllocatorType,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtHardwareDeviceType,
    OrtMemoryInfoDeviceType,
    OrtMemType,
)

_TYPES = {"cpu": 0, "cuda": 1, "gpu": 1, "webgpu": 1, "npu": 3, "cann": 3, "dml": 4}
_VENDORS = {
    "cuda": OrtDeviceVendorId.NVIDIA,
    "dml": OrtDeviceVendorId.MICROSOFT,
    "cann": OrtDeviceVendorId.HUAWEI,
    "webgpu": OrtDeviceVendorId.NONE,
}


def get_ort_device_type(device_type: str) -> int:
    """The number of a kind of device; an Exception, as there, for names that do not exist.

    >>> get_ort_device_type("cpu")
    0
    """
    if device_type not in _TYPES:
        raise Exception(f"Unsupported device type: {device_type}")  # noqa: TRY002
    return _TYPES[device_type]


def get_vendor_id_for_device_type(device_type: str) -> OrtDeviceVendorId | None:
    """Who makes all devices of that name; None where several do."""
    return _VENDORS.get(device_type)


class OrtDevice:
    """A device: a kind, a number, and whose.

    >>> OrtDevice.make("cpu", 0).device_type()
    0
    """

    __slots__ = ("_type", "_memory", "_vendor", "_id")

    def __init__(self, device_type: Any, mem_type: int | None = None, *vendor_and_id: int) -> None:
        """Of (kind, memory, number) or (kind, memory, vendor, number); or a copy of a device."""
        if isinstance(device_type, OrtDevice) and mem_type is None:
            device_type, mem_type, *vendor_and_id = device_type._key()  # type: ignore[assignment]
        if mem_type is None or len(vendor_and_id) not in (1, 2):
            raise ValueError("an OrtDevice is made of (kind, memory, number) or (kind, memory, vendor, number)")
        kind = int(device_type)
        self._type: int = OrtDevice.gpu() if kind == OrtDevice.dml() else kind  # DirectML is an interface to GPUs
        self._memory = int(mem_type)
        self._vendor = int(vendor_and_id[0]) if len(vendor_and_id) == 2 else 0
        self._id = int(vendor_and_id[-1])

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int | OrtDeviceVendorId = -1) -> OrtDevice:
        """The device of that name ('cpu', 'cuda', ...) and number."""
        kind = get_ort_device_type(ort_device_name)
        vendor = int(vendor_id) if vendor_id >= 0 else int(_VENDORS.get(ort_device_name, OrtDeviceVendorId.NONE))
        return OrtDevice(kind, OrtDevice.default_memory(), vendor, device_id)

    def device_type(self) -> int:
        """The number of its kind; `OrtDevice.cpu()` is one."""
        return self._type

    def device_id(self) -> int:
        """Its number among those of its kind."""
        return self._id

    def device_vendor_id(self) -> int:
        """Whose it is, as in OrtDeviceVendorId."""
        return self._vendor

    def device_mem_type(self) -> int:
        """0: the device's own memory."""
        return self._memory

    vendor_id = device_vendor_id
    mem_type = device_mem_type

    @staticmethod
    def cpu() -> int:
        """The number of the CPU."""
        return 0

    @staticmethod
    def cuda() -> int:
        """The number of NVIDIA's GPUs."""
        return 1

    @staticmethod
    def gpu() -> int:
        """The number of GPUs."""
        return 1

    @staticmethod
    def webgpu() -> int:
        """The number of GPUs."""
        return 1

    @staticmethod
    def fpga() -> int:
        """The number of FPGAs."""
        return 2

    @staticmethod
    def npu() -> int:
        """The number of NPUs."""
        return 3

    @staticmethod
    def cann() -> int:
        """The number of Huawei's NPUs."""
        return 3

    @staticmethod
    def dml() -> int:
        """The number of DirectML, whose devices are GPUs."""
        return 4

    @staticmethod
    def default_memory() -> int:
        """The number of a device's own memory."""
        return 0

    def _key(self) -> tuple[int, int, int, int]:
        return self._type, self._memory, self._vendor, self._id

    def _get_c_device(self) -> OrtDevice:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrtDevice):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<mezzo.OrtDevice kind {self._type}, number {self._id}>"


def require_cpu(device_type: str | OrtDevice, device_id: int = 0, vendor_id: int = -1) -> None:
    """RuntimeError, as there, for devices that this package cannot compute on."""
    device = device_type if isinstance(device_type, OrtDevice) else OrtDevice.make(device_type, device_id, vendor_id)
    if device.device_type() != OrtDevice.cpu():
        name = device_type if isinstance(device_type, str) else f"of kind {device.device_type()}"
        raise RuntimeError(f"Can't allocate memory on the device {name}: mezzo computes on the CPU; use 'cpu'")


class OrtMemoryInfo:
    """A kind of memory."""

    __slots__ = ("name", "allocator_type", "device_id", "mem_type", "device_mem_type", "device_vendor_id")
    _NAMES = ("Cpu", "Cuda", "CudaPinned", "Hip", "HipPinned", "DML", "OpenVINO_GPU", "QnnHtpShared", "WebGPU_Buffer")

    def __init__(self, name: str, allocator_type: OrtAllocatorType, device_id: int, mem_type: OrtMemType) -> None:
        if name not in self._NAMES:
            raise RuntimeError(f"Specified device is not supported: {name!r}. Try OrtMemoryInfo.create_v2.")
        self.name = name
        self.allocator_type = allocator_type
        self.device_id = device_id
        self.mem_type = mem_type
        self.device_mem_type = OrtDeviceMemoryType.DEFAULT
        self.device_vendor_id = 0

    @staticmethod
    def create_v2(
        name: str,
        device_type: OrtMemoryInfoDeviceType,
        vendor_id: int,
        device_id: int,
        memory_type: OrtDeviceMemoryType,
        alignment: int,
        allocator_type: OrtAllocatorType,
    ) -> OrtMemoryInfo:
        """The same with any name."""
        info = OrtMemoryInfo("Cpu", allocator_type, device_id, OrtMemType.DEFAULT)
        info.name, info.device_mem_type, info.device_vendor_id = name, memory_type, vendor_id
        return info

    def __repr__(self) -> str:
        return f"<mezzo.OrtMemoryInfo {self.name}>"


def cpu_memory() -> OrtMemoryInfo:
    """What all values of mezzo lie in."""
    return OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)


class OrtArenaCfg:
    """Settings of an arena: four numbers, or a dict of them; -1 (0 for max_mem): the default."""

    _NAMES = ("max_mem", "arena_extend_strategy", "initial_chunk_size_bytes", "max_dead_bytes_per_chunk")
    _MORE = ("initial_growth_chunk_size_bytes", "max_power_of_two_extend_bytes")

    def __init__(self, *settings: int | Mapping[str, int]) -> None:
        self.max_mem = 0
        self.arena_extend_strategy = -1
        self.initial_chunk_size_bytes = -1
        self.max_dead_bytes_per_chunk = -1
        self.initial_growth_chunk_size_bytes = -1
        self.max_power_of_two_extend_bytes = -1
        if len(settings) == 1 and isinstance(settings[0], Mapping):
            for name, value in settings[0].items():
                if name not in self._NAMES + self._MORE:
                    raise RuntimeError(f"Invalid OrtArenaCfg option: {name}")
                setattr(self, name, int(value))
        elif len(settings) == len(self._NAMES):
            for name, setting in zip(self._NAMES, settings):
                setattr(self, name, setting)
        else:
            raise TypeError(f"an OrtArenaCfg is made of a dict or of {', '.join(self._NAMES)}")


def create_and_register_allocator(mem_info: OrtMemoryInfo, arena_cfg: OrtArenaCfg | None) -> None:
    """Without effect: sessions pool their memory themselves."""


def create_and_register_allocator_v2(
    provider_type: str, mem_info: OrtMemoryInfo, options: Mapping[str, str], arena_cfg: OrtArenaCfg | None
) -> None:
    """Without effect: sessions pool their memory themselves."""


@dataclass(frozen=True)
class OrtHardwareDevice:
    """A device of the machine."""

    type: OrtHardwareDeviceType
    vendor: str
    vendor_id: int
    device_id: int
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OrtEpDevice:
    """A device with the execution provider that computes on it."""

    ep_name: str
    ep_vendor: str
    ep_metadata: dict[str, str]
    ep_options: dict[str, str]
    device: OrtHardwareDevice

    def memory_info(self, memory_type: OrtDeviceMemoryType) -> OrtMemoryInfo | None:
        """None: no memory apart from the CPU's."""
        return None

    def create_sync_stream(self) -> Any:
        """NotImplemented: a CPU has no streams."""
        raise errors.unavailable("OrtEpDevice.create_sync_stream", "a CPU has no streams")


_CPU = OrtHardwareDevice(OrtHardwareDeviceType.CPU, "", 0, 0)
_CPU_EP = OrtEpDevice("CPUExecutionProvider", "mezzo", {"version": version}, {}, _CPU)


def get_ep_devices() -> list[OrtEpDevice]:
    """The devices that sessions can use: the CPU.

    >>> [device.ep_name for device in get_ep_devices()]
    ['CPUExecutionProvider']
    """
    return [_CPU_EP]


def get_hardware_devices() -> list[OrtHardwareDevice]:
    """The same, without their providers."""
    return [_CPU]
