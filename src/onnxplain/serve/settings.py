"""What a service is told when it starts: models, addresses and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ..checks import check_count
from ..errors import InputError
from ..methods import METHODS
from ..model.runtimes import ONNX_RUNTIME, loader_for

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kMG]?)(B|P)?")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
#: Option of a method -> it costs so many runs of the model for each sample.
COUNTS = ("samples", "steps", "masks")
#: How explanations are logged.
LOG_FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class Settings:
    """All that ``onnxplain serve`` can be told.

    - ``models``: name -> file; None: the bundled classifier.
    - ``host``, ``port``, ``grpc_port``: where it listens; a port of 0 is a free one.
    - ``runtime``, ``providers``, ``threads``: as for an :class:`~onnxplain.Explainer`.
    - ``methods``: those that may be asked for.
    - ``queue``: requests that wait; one more is refused. ``timeout``: seconds for a request, reading included.
    - ``max_body``, ``max_pixels``, ``max_batch``, ``max_samples``: bytes of a request, pixels of a photo, samples of a
      request and of a run, and copies (samples, steps, masks) that a method may make of one sample.
    - ``api_key_file``: keys, one a line; ``insecure``: none is needed beyond loopback. ``cors``: origins of pages.
    - ``log_folder``, ``log_share``, ``log_photos``, ``log_format``: where explanations are logged, of which share of
      requests (0..1), whether with the photo, and as "jsonl" or "parquet".
    - ``page``: the folder of a page that is shown at ``/``; None makes one of the models.
    """

    models: Mapping[str, Path | None]
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    runtime: str = ONNX_RUNTIME
    providers: Sequence[str] | None = None
    threads: int = 0
    methods: Sequence[str] = ()
    queue: int = 16
    timeout: float = 60.0
    max_body: int = 20_000_000
    max_pixels: int = 50_000_000
    max_batch: int = 32
    max_samples: int = 200
    api_key_file: Path | None = None
    insecure: bool = False
    cors: Sequence[str] = ()
    log_folder: Path | None = None
    log_share: float = 0.01
    log_photos: bool = False
    log_format: str = "jsonl"
    page: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("queue", 1), ("max_body", 1), ("max_pixels", 1), ("max_batch", 1), ("max_samples", 1)):
            check_count(f"--{name.replace('_', '-')}", getattr(self, name), least)
        for name in ("port", "grpc_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise InputError(f"--{name.replace('_', '-')} is a port, 0 to 65535; found {getattr(self, name)}.")
        if not 0 < self.timeout < float("inf"):
            raise InputError(f"--timeout is a number of seconds above 0; found {self.timeout!r}.")
        if not 0 <= self.log_share <= 1:
            raise InputError(f"--sample is a share, 0 to 1; found {self.log_share!r}.")
        if self.log_format not in LOG_FORMATS:
            raise InputError(f"--log-format is {' or '.join(LOG_FORMATS)}; found {self.log_format[:40]!r}.")
        for name in self.methods:
            if name not in METHODS:
                raise InputError(f"--methods: {name!r} is unknown; there are {', '.join(METHODS)}.")
        loader_for(self.runtime, self.providers)
        self._check_reach()

    def _check_reach(self) -> None:
        """Refuse to answer other machines without a key."""
        if self.api_key_file is None and not self.insecure and not is_loopback(self.host):
            raise InputError(
                f"--host {self.host} answers other machines; name keys with --api-key-file, or state --insecure."
            )

    @property
    def allowed(self) -> Sequence[str]:
        """The methods that may be asked for; all, where none are named."""
        return self.methods or tuple(METHODS)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_size(text: str, unit: str, option: str) -> int:
    """Return the number that "20MB", "50MP" or "1000" stands for; k, M and G are powers of 1000.

    Raises:
        InputError: it stands for none, or is below 1.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[3] not in (None, unit) or (size := round(float(found[1]) * _FACTORS[found[2]])) < 1:
        raise InputError(f"{option} is a number such as 20M{unit}; found {text[:60]!r}.")
    return size


def parse_models(texts: Sequence[str]) -> dict[str, Path | None]:
    """Return the files of models by their names, of MODEL or MODEL=NAME; without any the bundled classifier.

    Raises:
        InputError: a file does not exist, or a name is no word or taken.
    """
    found: dict[str, Path | None] = {}
    for text in texts:
        stated, _, named = text.rpartition("=")
        path, name = (Path(stated), named) if stated and not Path(text).exists() else (Path(text), Path(text).stem)
        if not path.is_file():
            raise InputError(f"{path} does not exist; name an ONNX model, as MODEL or MODEL=NAME.")
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a model; take letters, digits, dots and dashes: {path}=NAME.")
        if name in found:
            raise InputError(f"two models are called {name!r}; name one of them otherwise: {path}=NAME.")
        found[name] = path
    return found or {"efficientnet_lite0": None}
