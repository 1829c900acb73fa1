"""What a PyTorch network costs: its graph, recorded operator by operator without computing it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgesr.complexity import Complexity, Kind, Layer, count, peak_activations

if TYPE_CHECKING:
    from torch import Tensor, nn

# The storage of a tensor: views of one activation share it.
_Storage = int

_CONVOLUTION = "convolution"
_MATRIX_PRODUCTS = ("mm", "addmm", "bmm")
_RECTIFIERS = ("relu", "leaky_relu", "prelu", "_prelu_kernel", "elu", "hardtanh")
_TRANSPOSED = 6  # where aten::convolution says whether it is a transposed one
_FLOAT32_BYTES = 4


def torch_complexity(net: "nn.Module", height: int, width: int) -> Complexity:
    """Count a network in eval mode on one picture; nothing is computed, `net` is not changed.

    Views (a split among them) take no memory of their own, in-place operators none beside their
    input, and what depends on weights alone is no activation.

    Args:
        net: Takes RGB, 1 x 3 x height x width.
        height: Rows of the picture.
        width: Columns of it.
    """
    import torch

    on_meta = copy.deepcopy(net).to("meta").eval()
    lr_nchw = torch.empty(1, 3, height, width, device="meta")
    recorder = _Recorder(lr_nchw)
    for name, part in on_meta.named_modules():
        part.register_forward_pre_hook(recorder.entering(name))
        part.register_forward_hook(recorder.leaving)
    with torch.no_grad(), _listening(recorder):
        hr_nchw = on_meta(lr_nchw)
    parameters = sum(tensor.numel() for tensor in on_meta.parameters())
    peak = peak_activations(
        recorder.layers, recorder.sizes, recorder.name(lr_nchw), recorder.name(hr_nchw)
    )
    return count(
        recorder.layers,
        parameters=parameters,
        weight_bytes=_FLOAT32_BYTES * parameters,
        peak=peak,
    )


class _Recorder:
    """Writes down every operator that works on the picture or on what was made of it."""

    def __init__(self, lr_nchw: "Tensor") -> None:
        self.layers: list[Layer] = []
        self.sizes: dict[str, int] = {}
        self._names: dict[_Storage, str] = {}
        self._held: list[Tensor] = []  # a storage that is let go may come back as another's
        self._parts: list[str] = []
        self._announce(lr_nchw)

    def entering(self, name: str) -> Callable[..., None]:
        """A hook for the part of that name."""
        return lambda *_: self._parts.append(name)

    def leaving(self, *_: object) -> None:
        """A hook for when a part is done."""
        self._parts.pop()

    def name(self, tensor: "Tensor") -> str:
        """What an activation is called."""
        return self._names[_storage(tensor)]

    def record(self, op: str, read: "list[Tensor]", made: "list[Tensor]", args: Any) -> None:  # noqa: ANN401
        """Take in one operator; an in-place one makes what it reads."""
        known = [tensor for tensor in read if _storage(tensor) in self._names]
        if not known:
            return  # made of weights alone
        plain = op.rstrip("_")
        views = {_storage(tensor) for tensor in read}
        if op == plain and all(_storage(tensor) in views for tensor in made):
            return
        for tensor in made:
            self._announce(tensor)
        weights = [tensor for tensor in read if _storage(tensor) not in self._names]
        self.layers.append(
            Layer(
                name=next((part for part in reversed(self._parts) if part), plain),
                op=plain,
                kind=_kind(plain),
                shape=tuple(made[0].shape),
                parameters=sum(tensor.numel() for tensor in weights),
                macs=_macs(plain, read, made[0], args),
                inputs=tuple(map(self.name, known)),
                outputs=tuple(map(self.name, made)),
            )
        )

    def _announce(self, tensor: "Tensor") -> None:
        self._held.append(tensor)
        name = self._names.setdefault(_storage(tensor), str(len(self._names)))
        self.sizes[name] = tensor.untyped_storage().nbytes()


def _listening(recorder: _Recorder) -> Any:  # noqa: ANN401 - a class that needs torch to be made
    """A context in which torch tells the recorder of every operator."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def tensors(values: object) -> "list[Tensor]":
        return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    class Listening(TorchDispatchMode):
        def __torch_dispatch__(
            self,
            func: Any,  # noqa: ANN401
            types: Any,  # noqa: ANN401
            args: Any = (),  # noqa: ANN401
            kwargs: Any = None,  # noqa: ANN401
        ) -> object:
            made = func(*args, **(kwargs or {}))
            op = str(func.overloadpacket.__name__)
            recorder.record(op, tensors((args, kwargs)), tensors(made), args)
            return made

    return Listening()


def _storage(tensor: "Tensor") -> _Storage:
    return cast(int, tensor.untyped_storage()._cdata)  # pyright: ignore[reportPrivateUsage]


def _kind(op: str) -> Kind:
    if op == _CONVOLUTION:
        return Kind.CONVOLUTION
    return Kind.RECTIFIER if op in _RECTIFIERS else Kind.OTHER


def _macs(op: str, read: "list[Tensor]", made: "Tensor", args: Any) -> int:  # noqa: ANN401
    if op == _CONVOLUTION:
        source, weight = read[:2]
        fed = source if args[_TRANSPOSED] else made
        return fed.numel() * weight[0].numel()
    return made.numel() * read[-1].shape[-2] if op in _MATRIX_PRODUCTS else 0


@dataclass(frozen=True)
class CudaCost:
    """What a network takes on a CUDA device, as the challenge measures it.

    Attributes:
        device: Its name.
        max_allocated_bytes: `torch.cuda.max_memory_allocated` of one run, weights included.
        milliseconds: Median of the runs between two CUDA events, in float32.
        runs: How many were timed.
        warm_up: How many ran before.
    """

    device: str
    max_allocated_bytes: int
    milliseconds: float
    runs: int
    warm_up: int


def cuda_cost(
    net: "nn.Module", height: int, width: int, *, runs: int = 30, warm_up: int = 5
) -> CudaCost | None:
    """Run a network on the first CUDA device; None where there is none.

    Args:
        net: Takes RGB, 1 x 3 x height x width.
        height: Rows of the picture.
        width: Columns of it.
        runs: How many are timed.
        warm_up: How many run before.
    """
    import statistics

    import torch

    if not torch.cuda.is_available():
        return None
    on_gpu = copy.deepcopy(net).to("cuda").eval()
    lr_nchw = torch.rand(1, 3, height, width, device="cuda")
    times: list[float] = []
    with torch.no_grad():
        for _ in range(warm_up):
            on_gpu(lr_nchw)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(runs):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            on_gpu(lr_nchw)
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
    return CudaCost(
        torch.cuda.get_device_name(),
        torch.cuda.max_memory_allocated(),
        statistics.median(times),
        runs,
        warm_up,
    )
