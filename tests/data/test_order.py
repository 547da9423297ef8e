"""The order of images is a function of the seed, the epoch and the number of processes, and of nothing else."""

import tarfile
from itertools import chain
from pathlib import Path

import pytest
import torch

from allmlp.data.loader import Batch, Order, plain_batches, training_batches
from allmlp.data.memory import memory_batches
from allmlp.data.pack import pack
from allmlp.data.sources import open_labelled, open_parts, open_source
from allmlp.data.transforms import training_transform
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment
from helpers import PictureFolder

SPEC = Preprocessing(img_size=(16, 16))
BAD = sorted(p for p in (Path(__file__).parent.parent / "bad-images").iterdir() if p.name != "LICENSE")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))


def seen(
    rank: int, world: int, *, count: int = 26, batch: int = 8, seed: int = 5, epoch: int = 0, start: int = 0
) -> list[list[int]]:
    """The images of each step of one process."""
    order = Order(count, batch, seed=seed, drop_last=True, rank=rank, world=world)
    order.epoch, order.start = epoch, start
    return [[index for _, index in keys] for keys in order]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_processes_share_each_batch_evenly_and_no_image_is_seen_twice(world: int) -> None:
    alone, ranks = seen(0, 1), [seen(rank, world) for rank in range(world)]
    for step, whole in enumerate(alone):
        shares = [rank[step] for rank in ranks]
        assert {len(share) for share in shares} == {8 // world}
        assert sorted(chain(*shares)) == sorted(whole)
        assert shares == [whole[rank::world] for rank in range(world)]
    assert len(set(chain(*alone))) == 24


def test_seed_epoch_and_world_size_decide_and_each_of_them_matters() -> None:
    first = seen(1, 2)
    assert seen(1, 2) == first
    assert all(other != first for other in (seen(1, 2, seed=6), seen(1, 2, epoch=1), seen(1, 4), seen(0, 2)))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_process_that_goes_on_inside_an_epoch_sees_what_was_left(world: int) -> None:
    for rank in range(world):
        assert seen(rank, world, epoch=3, start=2) == seen(rank, world, epoch=3)[2:]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_worker_processes_do_not_change_what_a_process_sees(workers: int, picture_folder: PictureFolder) -> None:
    images = open_labelled(picture_folder({"cat": 13, "dog": 13}), ("cat", "dog"))[0]
    transform = training_transform(Augment(), SPEC)
    loader = training_batches(images, transform, reading=3, batch=8, seed=5, workers=workers, rank=1, world=2)
    assert [batch.indices.tolist() for batch in loader] == seen(1, 2)


def test_images_in_memory_come_in_the_same_order() -> None:
    images = open_source(None, val_share=0.1, seed=0, limit=26).train
    loader = memory_batches(
        images,
        Augment(),
        Preprocessing(img_size=(28, 28), in_chans=1, mean=(0.5,), std=(0.5,)),
        batch=8,
        seed=5,
        rank=1,
        world=2,
    )  # type: ignore[arg-type]
    assert [batch.indices.tolist() for batch in loader] == seen(1, 2)


def tarred(folder: Path, out: Path) -> Path:
    with tarfile.open(out / "set.tar", "w") as archive:
        archive.add(folder, ".")
    return out / "set.tar"


def sharded(folder: Path, out: Path) -> Path:
    pack(open_parts(str(folder)), out / "shards", shards=3, size=None)
    return out / "shards"


def tabled(folder: Path, out: Path) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    files = sorted(folder.glob("*/*"))
    columns = {"image": [{"bytes": f.read_bytes(), "path": f.name} for f in files], "label": [f.parent.name for f in files]}
    parquet.write_table(arrow.table(columns), out / "set.parquet")
    return out / "set.parquet"


KINDS = {"tar": tarred, "shards": sharded, "parquet": tabled}


def shown(batches: list[Batch]) -> list[tuple[list[int], bytes]]:
    return [(batch.labels.tolist(), batch.images.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_give_the_same_batches_wherever_they_lie(
    kind: str, picture_folder: PictureFolder, tmp_path: Path
) -> None:
    folder = picture_folder({"cat": 12, "dog": 9})
    transform = training_transform(Augment(crop="resized", flip=0.5), SPEC)

    def batches(spec: Path) -> list[Batch]:
        train = open_source(str(spec), val_share=0.25, seed=1).train
        return list(training_batches(train, transform, reading=3, batch=4, seed=2, workers=0))

    assert shown(batches(folder)) == shown(batches(KINDS[kind](folder, tmp_path)))


@pytest.mark.parametrize("kind", KINDS)
def test_sources_of_every_kind_are_packed_into_the_same_pictures(
    kind: str, picture_folder: PictureFolder, tmp_path: Path
) -> None:
    folder = picture_folder({"cat": 6, "dog": 5})
    pack(open_parts(str(KINDS[kind](folder, tmp_path))), tmp_path / "again", shards=2, size=None)
    images, left_out = open_labelled(tmp_path / "again", ("cat", "dog"))
    assert left_out == []
    assert images.labels.tolist() == [0] * 6 + [1] * 5
    assert [images.content(i) for i in range(11)] == [file.read_bytes() for file in sorted(folder.glob("*/*"))]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_kind_of_damaged_picture_is_survived_inside_larger_files(
    kind: str, workers: int, picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allmlp.data.parts.PROBED", 0)  # as in a large set: damage shows when an image's turn comes
    folder = picture_folder({"cat": 3, "dog": 3})
    for file in BAD:
        (folder / "dog" / f"x-{file.name}").write_bytes(file.read_bytes())
    images = open_labelled(KINDS[kind](folder, tmp_path), ("cat", "dog"))[0]
    batches = list(plain_batches(images, SPEC, reading=3, batch=8, workers=workers))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    assert sum(len(batch.unreadable) for batch in batches) == len(BAD)
