"""Cost of a PyTorch network, recorded operator by operator without computing it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgesr.evaluation.complexity import Complexity, Kind, Layer, count, peak_activations

if TYPE_CHECKING:
    from torch import Tensor, nn

# The storage of a tensor: views of one activation share it.
_Storage = int

_CONVOLUTION = "convolution"
_MATRIX_PRODUCTS = ("mm", "addmm", "bmm")
_RECTIFIERS = ("relu", "leaky_relu", "prelu", "_prelu_kernel", "elu", "hardtanh")
_TRANSPOSED = 6  # index of aten::convolution's argument `transposed`
_FLOAT32_BYTES = 4


def torch_complexity(net: "nn.Module", height: int, width: int) -> Complexity:
    """Count a network in eval mode on one image; nothing is computed, `net` is not changed.

    Views (such as a split) and in-place operators need no memory of their own, and values that
    depend on weights alone are no activations.

    Args:
        net: Its input is RGB, 1 x 3 x height x width, float32.
        height: Rows of the image.
        width: Columns of it.
    """
    import torch

    on_meta = copy.deepcopy(net).to("meta").eval()
    lr_nchw = torch.empty(1, 3, height, width, device="meta")
    recorder = _Recorder(lr_nchw)
    for name, module in on_meta.named_modules():
        module.register_forward_pre_hook(recorder.entering(name))
        module.register_forward_hook(recorder.leaving)
    with torch.no_grad(), _recording(recorder):
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
    """Records every operator whose input depends on the image."""

    def __init__(self, lr_nchw: "Tensor") -> None:
        self.layers: list[Layer] = []
        self.sizes: dict[str, int] = {}
        self._names: dict[_Storage, str] = {}
        self._held: list[Tensor] = []  # a freed storage may be reused by another tensor
        self._modules: list[str] = []
        self._register(lr_nchw)

    def entering(self, name: str) -> Callable[..., None]:
        """Make a hook for the start of a module."""
        return lambda *_: self._modules.append(name)

    def leaving(self, *_: object) -> None:
        """Hook for the end of a module."""
        self._modules.pop()

    def name(self, tensor: "Tensor") -> str:
        """Name of an activation."""
        return self._names[_storage(tensor)]

    def record(self, op: str, read: "list[Tensor]", made: "list[Tensor]", args: Any) -> None:  # noqa: ANN401
        """Record one operator; an in-place one writes what it reads."""
        known = [tensor for tensor in read if _storage(tensor) in self._names]
        if not known:
            return  # depends on weights alone
        plain = op.rstrip("_")
        views = {_storage(tensor) for tensor in read}
        if op == plain and all(_storage(tensor) in views for tensor in made):
            return
        for tensor in made:
            self._register(tensor)
        weights = [tensor for tensor in read if _storage(tensor) not in self._names]
        self.layers.append(
            Layer(
                name=next((name for name in reversed(self._modules) if name), plain),
                op=plain,
                kind=_kind(plain),
                shape=tuple(made[0].shape),
                parameters=sum(tensor.numel() for tensor in weights),
                macs=_macs(plain, read, made[0], args),
                inputs=tuple(map(self.name, known)),
                outputs=tuple(map(self.name, made)),
            )
        )

    def _register(self, tensor: "Tensor") -> None:
        self._held.append(tensor)
        name = self._names.setdefault(_storage(tensor), str(len(self._names)))
        self.sizes[name] = tensor.untyped_storage().nbytes()


def _recording(recorder: _Recorder) -> Any:  # noqa: ANN401 - its class needs torch
    """Context in which the recorder receives every operator of torch."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def tensors(values: object) -> "list[Tensor]":
        return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    class Recording(TorchDispatchMode):
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

    return Recording()


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
    """Memory and time of a network on a CUDA device, as the challenge measures them.

    Attributes:
        device: Its name.
        max_allocated_bytes: `torch.cuda.max_memory_allocated` of one run, weights included.
        milliseconds: Median of the runs between two CUDA events, in float32.
        runs: Timed runs.
        warm_up: Untimed runs before them.
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
        net: Its input is RGB, 1 x 3 x height x width, float32.
        height: Rows of the image.
        width: Columns of it.
        runs: Timed runs.
        warm_up: Untimed runs before them.
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
