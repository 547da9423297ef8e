"""What timm's own training makes of a folder of images in given processor time: the bar for docs/results.md.

    python benchmarks/timm_train.py DATA --minutes 20 [--img-size 64 --patch 8 --dim 192 --depth 8] [--out x.json]

timm's train.py is not part of its package, so that its steps are taken here in its order from the parts it is made of:
create_dataset, create_loader, Mixup, create_optimizer_v2, create_scheduler_v2, ModelEmaV3. DATA has train/ and val/.
The model is timm's ResMLP, scaled: resmlp_12_224 takes neither patch_size nor depth, so that its class is built directly.
The epochs are those that fit into the time: the rate is measured on the first steps, which count.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from timm.data import Mixup, create_dataset, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, accuracy
from torch import nn

from allmlp.strict_json import to_json

PROBE = 12
"""Steps by which the rate is measured."""


def loaders(given: argparse.Namespace) -> tuple[Any, Any, int]:
    common = dict(input_size=(3, given.img_size, given.img_size), batch_size=given.batch, use_prefetcher=False)
    common |= dict(num_workers=0, device=torch.device("cpu"), interpolation="bicubic", persistent_workers=False)
    sets = {split: create_dataset("", root=given.data, split=split) for split in ("train", "val")}
    crops = dict(scale=tuple(given.scale), ratio=(1.0, 1.0) if given.scale == [1.0, 1.0] else (3 / 4, 4 / 3))
    train = create_loader(
        sets["train"],
        is_training=True,
        re_prob=given.reprob,
        auto_augment=given.aa,
        color_jitter=given.jitter,
        **crops,
        **common,
    )
    val = create_loader(sets["val"], is_training=False, crop_pct=given.crop_pct, **common)
    return train, val, len(sets["train"].reader.class_to_idx)


@torch.inference_mode()
def top1(model: nn.Module, loader: Any) -> float:
    model.eval()
    right = total = 0.0
    for images, labels in loader:
        right += accuracy(model(images), labels)[0].item() / 100 * len(labels)
        total += len(labels)
    return right / total


def train(given: argparse.Namespace, console: Console) -> dict[str, Any]:
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    batches, held_out, classes = loaders(given)
    model = MlpMixer(
        num_classes=classes, img_size=given.img_size, patch_size=given.patch, embed_dim=given.dim, num_blocks=given.depth,
        mlp_ratio=4, block_layer=partial(ResBlock, init_values=given.layer_scale), norm_layer=Affine,
    )  # fmt: skip
    mixup = Mixup(mixup_alpha=given.mixup, cutmix_alpha=given.cutmix, label_smoothing=given.smoothing, num_classes=classes)
    optimizer = create_optimizer_v2(model, opt=given.opt, lr=given.lr, weight_decay=given.weight_decay)
    ema = ModelEmaV3(model, decay=given.ema)
    criterion = SoftTargetCrossEntropy()
    scheduler, epochs, epoch, number = None, None, 0, 0
    begun = time.process_time()
    while epochs is None or epoch < epochs:
        model.train()
        for images, labels in batches:
            if len(images) % 2:  # mixup wants pairs
                continue
            images, targets = mixup(images, labels)
            with torch.autocast("cpu", torch.bfloat16, enabled=given.amp):
                loss = criterion(model(images), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            number += 1
            ema.update(model, step=number)
            if number == PROBE:
                step = (time.process_time() - begun) / PROBE
                epochs = max(epoch + 1, round(given.minutes * 60 / step / len(batches)))
                console.print(f"{1 / step * given.batch:.0f} images/s: {epochs} epochs in {given.minutes:g} minutes")
                scheduler, _ = create_scheduler_v2(
                    optimizer, sched="cosine", num_epochs=epochs, warmup_epochs=min(given.warmup, epochs // 10),
                    warmup_lr=1e-5, min_lr=1e-5, step_on_epochs=False, updates_per_epoch=len(batches),
                )  # fmt: skip
            if scheduler is not None:
                scheduler.step_update(number)
        epoch += 1
        console.print(f"epoch {epoch}/{epochs or '?'}  loss {loss.item():.3f}  {time.process_time() - begun:.0f} s")
    spent = time.process_time() - begun
    raw, averaged = top1(model, held_out), top1(ema.module, held_out)
    parameters = sum(p.numel() for p in model.parameters())
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    return dict(top1=raw, ema_top1=averaged, cpu_seconds=spent, epochs=epochs, parameters=parameters, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/, each of class folders")
    parser.add_argument("--minutes", type=float, default=20.0, help="of one core")
    parser.add_argument("--img-size", type=int, default=64)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--layer-scale", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--opt", default="adamw")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--warmup", type=int, default=5, help="epochs, at most a tenth of them")
    parser.add_argument("--mixup", type=float, default=0.2, help="above 0, or --cutmix is")
    parser.add_argument("--cutmix", type=float, default=1.0)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--aa", default="rand-m6-mstd0.5")
    parser.add_argument("--jitter", type=float, default=0.4)
    parser.add_argument("--scale", type=float, nargs=2, default=[0.08, 1.0], help="shares of a picture: 1 1 for all of it")
    parser.add_argument("--reprob", type=float, default=0.1)
    parser.add_argument("--crop-pct", type=float, default=0.9)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--amp", action="store_true", help="bf16 where autocast has it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = train(given, Console())
    text = to_json(found, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
