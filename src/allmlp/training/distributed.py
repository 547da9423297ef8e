"""Several processes, one run: torch's own process groups, DDP and FSDP2, and the few sums the loop needs.

`torchrun --nproc-per-node 2 -m allmlp train …`, or any launcher that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

# axes: b batch, c channels, h w pixels, k classes

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from allmlp.data.unguarded import leave_if_imported
from allmlp.engine.cost import parameters
from allmlp.errors import AllmlpError, RunError, TrainingError
from allmlp.models.base import ImageModel

LARGE = 100_000_000
"""From so many parameters on (Mixer-L and H, ResMLP-B24) "auto" shards them: FSDP2 instead of DDP."""
TIMEOUT = 600.0
"""Seconds that a process waits for the others unless told otherwise: rank 0 may be reading or writing on a slow disk."""

Value = TypeVar("Value")
Forward = Callable[..., Tensor]  # b c h w → b k, or what else the task's model takes


@dataclass(frozen=True)
class Team:
    """The processes of one run. One alone needs no process group, and every method is then the identity."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes, in float64."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def total(self, mine: Tensor) -> Tensor:
        """A tensor summed over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(mine)
        return mine

    def gathered(self, mine: Value) -> list[Value]:
        """Everybody's value, in the order of ranks."""
        if self.size == 1:
            return [mine]
        found: list[Value] = [mine] * self.size
        dist.all_gather_object(found, mine)
        return found

    def one_by_one(self, action: Callable[[], Value]) -> Value:
        """Each process's own, the first's before the others': what it fetches lies ready for them. Its error is everyone's."""
        if self.size == 1:
            return action()
        mine: list[Value] = []
        self.by_first(lambda: mine.append(action()))
        return mine[0] if mine else action()

    def by_first(self, action: Callable[[], Value]) -> Value:
        """What `action` gives in the first process, for all of them; or its error, in all of them."""
        if self.size == 1:
            return action()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = action()
            except AllmlpError as error:
                box[1] = error
        dist.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise box[1]
        return box[0]


@contextmanager
def joined(timeout: float = TIMEOUT) -> Iterator[Team]:
    """The team this process was started in, by torchrun or any launcher that sets the same variables.

    timeout: seconds to wait for another process. Raises RunError when some of the variables are missing, and TrainingError
    when another process of the team is gone, or has not answered for so long.
    """
    leave_if_imported()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise RunError(f"WORLD_SIZE is {size} but {missing[0]} is not set", hint="start it with torchrun, or set them all")
    rank = int(os.environ["RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    backend, limit = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timedelta(seconds=timeout)
    try:
        dist.init_process_group(backend, store=_attempt_store(rank, limit), rank=rank, world_size=size, timeout=limit)
        yield Team(rank, size)
    except RuntimeError as error:
        if isinstance(error, AllmlpError) or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise _lost(error, timeout) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _lost(error: RuntimeError, timeout: float) -> TrainingError:
    """What is said of a process that is gone, or silent."""
    first = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if any(word in str(error).lower() for word in ("timed out", "timeout")):
        return TrainingError(
            f"another process of this run has not answered for {timeout:g} seconds: it hangs, or was never started ({first})",
            hint="look at what it waits for, end it, and give the command again with --resume auto; where one may rightly take "
            "longer, for a slow disk, a larger --train.process-timeout",
        )
    return TrainingError(
        f"another process of this run is gone: {first}",
        hint="its own message says why; torchrun --max-restarts 3 starts all of them again from the last checkpoint",
    )


def _attempt_store(rank: int, limit: timedelta) -> PrefixStore:
    """Where the processes find each other.

    After a restart torchrun's store still holds the addresses of the processes that are gone (seen in torch 2.15: 9 of 12
    restarts hung on them), so each attempt gets a corner of its own.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(host, port, is_master=rank == 0 and not by_torchrun, timeout=limit)
    return PrefixStore(f"attempt-{restarts()}", store)


def is_first() -> bool:
    """Whether this process speaks for its team, before and after there is one."""
    return os.environ.get("RANK", "0") == "0"


def restarts() -> int:
    """How often torchrun has started these processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def may_restart() -> bool:
    """Whether torchrun was told to start these processes again when one is lost."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", os.environ.get("RANK", "0"))))


def local_size() -> int:
    """How many processes of the run share this machine, as far as the launcher says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def chosen(wanted: Literal["auto", "ddp", "fsdp"], model: nn.Module, team: Team) -> str:
    """ "none" for one process; "auto" keeps whole copies ("ddp") below LARGE parameters and shards above ("fsdp")."""
    if team.size == 1:
        return "none"
    if wanted == "auto":
        return "fsdp" if parameters(model) >= LARGE else "ddp"
    return wanted


def spread(models: Sequence[ImageModel], how: str, device: torch.device, team: Team) -> Forward:
    """Share the first model's training over the team; models are sharded in place. Returns its forward pass.

    All processes must hold the same weights. Call it before the optimiser is made: sharding replaces parameters.
    """
    model = models[0]
    if how == "none":
        return model
    if how == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (team.size,))
    for each in models:
        each.to(memory_format=torch.contiguous_format)  # the only one that FSDP2 shards
        for part in (*each.steps(), each):
            fully_shard(part, mesh=mesh)
    return model


@contextmanager
def synced(forward: Forward, now: bool) -> Iterator[None]:
    """Gradients of a backward pass inside go to the other processes now, or are kept to go with later ones."""
    with nullcontext() if now or not isinstance(forward, DistributedDataParallel) else forward.no_sync():
        yield


def with_shared_norms(model: ImageModel, device: torch.device, team: Team) -> ImageModel:
    """Batch norms that see the whole batch where torch can (CUDA). Elsewhere each process normalises by its own images,
    and the running statistics are those of rank 0."""
    if team.size > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place, but for a model that is a norm itself
    return model


@contextmanager
def whole(model: nn.Module, team: Team) -> Iterator[nn.Module]:
    """The model with all its weights in every process, and rank 0's buffers, so that each can run it at its own pace."""
    if team.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
    sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield model
    finally:
        for module in sharded:
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def unsharded(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, in every process; others as they are."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor by name, whole, in the first process; the others need not have them."""
    if not isinstance(model, FSDPModule):
        return model.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return {name: value for name, value in get_model_state_dict(model, options=options).items() if isinstance(value, Tensor)}
