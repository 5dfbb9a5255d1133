"""One training step: forward, backward, and the optimizer."""

from collections.abc import Mapping

import torch

from trainbench.autos import RunConfig
from trainbench.pytorch import losses, models, optimizers
from trainbench.pytorch.settings import EAGER, INDUCTOR
from trainbench.training.task import Task


class TorchStep:
    """A model with its optimizer; each call trains on one batch and returns its loss, float32 [].

    Precision: `bf16` computes in bfloat16 by autocast from float32 parameters; `bf16_full` holds the
    parameters in bfloat16, but for batch normalisation, whose scales and statistics stay float32, as cuDNN
    takes them beside bfloat16 activations.
    """

    def __init__(self, config: RunConfig, task: Task, device: torch.device) -> None:
        request, how = config.request, config.request.torch
        assert how.attention is not None
        with device:
            model = models.build(request.model, how.attention)
        if request.precision.name == "bf16_full":
            model.to(torch.bfloat16)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.float()
        if how.channels_last:
            model.to(memory_format=torch.channels_last)
        self.model = model.train()
        self.device = device
        self._loss = losses.loss_of(task, request, device)
        self._autocast = request.precision.name == "bf16"
        compiled = how.compile != EAGER
        self._forward = self._compute
        if compiled:
            mode = "default" if how.compile == INDUCTOR else how.compile
            self._forward = torch.compile(self._compute, mode=mode, dynamic=False)
        self._optimizer = optimizers.build(
            request.optimizer, model, config.global_batch_size, fused=bool(how.fused), compiled=compiled
        )

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        self.model.zero_grad(set_to_none=True)
        loss = self._forward(batch)
        loss.backward()
        self._optimizer()
        return loss.detach()

    def _compute(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            return self._loss(self.model, batch)
