"""What the figures were measured on and with."""

import os
import platform
import shutil
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path

from pysam.version import __htslib_version__

_LIBRARIES = ("htsgate", "aiohttp", "numpy", "deflate", "orjson", "pysam")


def describe() -> dict[str, str]:
    """The machine, and the versions of all that takes part."""
    return {
        "processor": _processor(),
        "processors": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "htslib": __htslib_version__,
        "openssl": ssl.OPENSSL_VERSION,
        "nginx": _nginx(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory() -> str:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "unknown"
    return f"{size / 1e9:.0f} GB"


def _nginx() -> str:
    program = shutil.which("nginx")
    if program is None:
        return "not installed"
    answer = subprocess.run([program, "-v"], check=False, capture_output=True, text=True)
    return answer.stderr.strip().rpartition("/")[2]
