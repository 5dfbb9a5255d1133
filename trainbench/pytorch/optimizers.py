"""The optimizers of trainbench.training.optimizer in PyTorch: same constants, same decayed tensors."""

from collections.abc import Callable, Iterable

import torch

from trainbench.training.optimizer import OptimizerConfig, scaled_rate

# Tensors of the size of the parameters that each optimizer keeps.
SLOTS = {"sgd": 1, "adamw": 2, "lamb": 2}


def build(
    config: OptimizerConfig, model: torch.nn.Module, batch_size: int, *, fused: bool, compiled: bool
) -> Callable[[], None]:
    """A function that moves the model's parameters by their gradients.

    Args:
      fused: one kernel for many tensors; for lamb, which PyTorch has not, its operations over lists of them.
      compiled: whether lamb is compiled, which fuses these.
    """
    rate, groups = scaled_rate(config, batch_size), _groups(config, model)
    if config.name == "sgd":
        momentum, nesterov = config.momentum or 0.0, bool(config.nesterov)
        return _stepping(torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=fused))
    assert config.b1 is not None
    assert config.b2 is not None
    assert config.eps is not None
    betas = (config.b1, config.b2)
    if config.name == "adamw":
        return _stepping(torch.optim.AdamW(groups, lr=rate, betas=betas, eps=config.eps, fused=fused))
    return Lamb(groups, rate, betas, config.eps, compiled=compiled)


def _stepping(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def step() -> None:
        optimizer.step()

    return step


def _groups(config: OptimizerConfig, model: torch.nn.Module) -> list[dict[str, object]]:
    """Weight decay applies to matrices and kernels, not to biases and normalisation."""
    parameters = list(model.parameters())
    matrices = [one for one in parameters if one.ndim > 1]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


class Lamb:
    """LAMB (You et al. 2020, arXiv:1904.00962, algorithm 2, with Adam's bias correction, as optax has it).

    PyTorch has none; NVIDIA's fused one is in Apex, which no package index offers.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, object]],
        rate: float,
        betas: tuple[float, float],
        eps: float,
        *,
        compiled: bool,
    ) -> None:
        self._groups: list[tuple[list[torch.Tensor], float]] = []
        for group in groups:
            params, decay = group["params"], group["weight_decay"]
            assert isinstance(params, list)
            assert isinstance(decay, float)
            self._groups.append((params, decay))
        self._first = [[torch.zeros_like(one) for one in params] for params, _ in self._groups]
        self._second = [[torch.zeros_like(one) for one in params] for params, _ in self._groups]
        device = self._groups[0][0][0].device
        # On the device and counted there: a Python number would make torch.compile compile every step anew.
        self._step = torch.zeros((), device=device)
        self._constants = rate, *betas, eps
        self._update = torch.compile(lamb_update) if compiled else lamb_update

    @torch.no_grad()
    def __call__(self) -> None:
        self._step += 1
        for (params, decay), first, second in zip(self._groups, self._first, self._second, strict=True):
            grads = [one.grad for one in params]
            self._update(params, grads, first, second, self._step, decay, *self._constants)


def lamb_update(
    params: list[torch.Tensor],
    grads: list[torch.Tensor],
    first: list[torch.Tensor],
    second: list[torch.Tensor],
    step: torch.Tensor,
    decay: float,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
) -> None:
    """One step of LAMB, in place: parameters, first and second moments."""
    torch._foreach_lerp_(first, grads, 1 - b1)
    torch._foreach_mul_(second, b2)
    torch._foreach_addcmul_(second, grads, grads, 1 - b2)
    updates = torch._foreach_div(first, 1 - b1**step)
    scale = torch._foreach_div(second, 1 - b2**step)
    torch._foreach_sqrt_(scale)
    torch._foreach_add_(scale, eps)
    torch._foreach_div_(updates, scale)
    if decay:
        torch._foreach_add_(updates, params, alpha=decay)
    norm, of_update = (torch.stack(torch._foreach_norm(one)) for one in (params, updates))
    ratios = torch.where((norm > 0) & (of_update > 0), norm / of_update, 1.0).unbind()
    torch._foreach_mul_(updates, ratios)
    torch._foreach_add_(params, updates, alpha=-rate)
