"""What this machine's processor can do, and what follows from it: no clock decides (docs/decisions/0004).

The same machine with the same torch chooses the same precision and the same matmuls every time, under any load.
"""

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that keep oneDNN from newer instructions; the first one that is set counts."""
WITHOUT_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
WITHOUT_BF16 = (*WITHOUT_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI")
VENDORS = {"AuthenticAMD": "AMD", "HygonGenuine": "AMD", "GenuineIntel": "Intel"}
"""As the processor spells it → as people do."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a processor, and the torch that runs on it, can do."""

    architecture: str
    """As `platform.machine` has it, such as "x86_64" or "aarch64"."""
    vendor: str = ""
    """ "AMD", "Intel", or nothing where the system does not tell."""
    avx512: bool = False
    avx512_bf16: bool = False
    amx: bool = False
    """Tiles of bf16, and the system's permission to use them."""
    mkl: bool = False
    """Whether torch multiplies float32 by Intel's library, which has no AVX-512 for other vendors' processors."""
    limit: str = ""
    """The newest instructions that oneDNN is allowed, where the user has set any."""

    def __str__(self) -> str:
        """For people: "x86_64, AMD, avx512, mkl"."""
        can = [name for name in ("avx512", "avx512_bf16", "amx", "mkl") if getattr(self, name)]
        limit = [f"oneDNN limited to {self.limit}"] if self.limit else []
        return ", ".join([self.architecture, *([self.vendor] if self.vendor else []), *can, *limit])

    @property
    def onednn_avx512(self) -> bool:
        """Whether oneDNN multiplies with vectors of 512 bits."""
        return self.avx512 and self.limit not in WITHOUT_AVX512

    @property
    def fast_bf16(self) -> bool:
        """Whether bf16 is far faster than float32: AMX tiles, or AVX-512's bf16 on AMD's processors.

        On Intel's without AMX the same instructions took twice as long as float32's; on ARM nothing was measured.
        """
        if self.limit in WITHOUT_BF16:
            return False
        tiles = self.amx and (not self.limit or "AMX" in self.limit or self.limit in ("ALL", "DEFAULT"))
        return tiles or (self.vendor == "AMD" and self.avx512_bf16)

    @property
    def fast_onednn(self) -> bool:
        """Whether oneDNN multiplies float32 far faster than torch's own way: where that is MKL, on AMD's AVX-512."""
        return self.mkl and self.vendor == "AMD" and self.onednn_avx512


@lru_cache
def abilities() -> Abilities:
    """Of this machine, now and for the whole process."""
    flags = _flags()
    limit = next((os.environ[name] for name in LIMITS if os.environ.get(name)), "")
    return Abilities(
        architecture=platform.machine(),
        vendor=_vendor(),
        avx512=flags.get("avx512_f", False),
        avx512_bf16=flags.get("avx512_bf16", False),
        amx=flags.get("amx_bf16", False) and _may_use_amx(),
        mkl=torch.backends.mkl.is_available(),
        limit=limit.upper(),
    )


def _flags() -> dict[str, bool]:
    """The processor's instructions by cpuinfo's names, as torch tells them."""
    cpu: Any = torch.cpu
    if hasattr(cpu, "get_capabilities"):
        return {name: value for name, value in cpu.get_capabilities().items() if isinstance(value, bool)}
    older = {
        "avx512_f": "_is_avx512_supported",
        "avx512_bf16": "_is_avx512_bf16_supported",
        "amx_bf16": "_is_amx_tile_supported",
    }
    return {name: bool(getattr(cpu, function)()) for name, function in older.items() if hasattr(cpu, function)}


def _may_use_amx() -> bool:
    """Linux gives a process AMX's registers when it asks for them."""
    ask: Any = getattr(torch.cpu, "_init_amx", None)
    return bool(ask()) if ask is not None else True


def _vendor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        said = next(line.split(":")[1].strip() for line in lines if line.startswith("vendor_id"))
    except (OSError, StopIteration, IndexError):
        said = next((name for name in VENDORS if name in platform.processor()), "")
    return VENDORS.get(said, "")
