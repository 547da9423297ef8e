"""DINO's parts by hand: loss, centre, schedules, head, teacher, and what collapse looks like."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from allmlp.errors import RecipeError
from allmlp.models import create_model
from allmlp.recipe import Dino, Optim, recipe_from
from allmlp.surgery.resize import resize
from allmlp.training.dino.loss import centred, self_distillation, teacher_temperature
from allmlp.training.dino.projection import Projection
from allmlp.training.dino.state import State
from allmlp.training.dino.task import Smaller, with_projection
from allmlp.training.dino.teacher import MeanTeacher, headless, teaching
from allmlp.training.distributed import Team
from allmlp.training.optim import cosine, optimiser, schedule


def test_loss_is_the_mean_over_all_pairs_of_different_parts() -> None:
    student, teacher = torch.randn(5, 3, 7), torch.randn(2, 3, 7).softmax(-1)
    pairs = [-(teacher[t] * F.log_softmax(student[s] / 0.1, -1)).sum(-1).mean() for t in range(2) for s in range(5) if s != t]
    assert torch.allclose(self_distillation(student, teacher, 0.1), torch.stack(pairs).mean())


def test_a_student_without_opinion_loses_what_chance_does() -> None:
    teacher = torch.randn(2, 3, 11).softmax(-1)
    assert self_distillation(torch.zeros(4, 3, 11), teacher, 0.1) == pytest.approx(math.log(11), rel=1e-6)


def test_centring_takes_away_what_is_said_of_every_image() -> None:
    logits = torch.randn(4, 6)
    assert torch.allclose(centred(logits + 5, torch.full((6,), 5.0), 0.5), (logits / 0.5).softmax(-1), atol=1e-6)


def test_schedules_begin_and_end_where_they_should() -> None:
    dino = Dino(teacher_temperature=(0.04, 0.08), teacher_warmup=10)
    assert [teacher_temperature(dino, epoch) for epoch in (0, 5, 10, 99)] == pytest.approx([0.04, 0.06, 0.08, 0.08])
    assert teacher_temperature(Dino(teacher_warmup=0), 0) == 0.07
    assert [cosine(0.996, 1.0, done) for done in (0, 0.5, 1)] == pytest.approx([0.996, 0.998, 1.0])


def test_weight_decay_grows_where_there_is_any() -> None:
    model = nn.Linear(3, 2)
    optim = Optim(weight_decay=0.04, weight_decay_end=0.4)
    made = optimiser(model, optim, 256)
    plan = schedule(made, optim, batch=256, steps=10, epochs=10)
    seen = []
    for step in (0, 50, 100):
        plan.step_update(step)
        seen.append(sorted(group["weight_decay"] for group in made.param_groups))
    assert [low for low, _ in seen] == [0, 0, 0]
    assert [high for _, high in seen] == pytest.approx([0.04, 0.22, 0.4])


def test_weight_decay_that_begins_at_zero_does_not_grow() -> None:
    with pytest.raises(RecipeError, match="begins at 0"):
        Optim(weight_decay=0.0, weight_decay_end=0.1)


def test_head_gives_cosines() -> None:
    head = Projection(6, hidden=8, bottleneck=4, outputs=9)
    x = torch.randn(5, 6)
    found = head(x)
    assert found.shape == (5, 9)
    one, two = head.mlp(x), head.directions
    assert torch.allclose(found, F.cosine_similarity(one[:, None], two[None], dim=-1), atol=1e-6)


def test_teacher_is_the_mean_of_weights_and_has_statistics_of_its_own() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    teacher = MeanTeacher(student, (0.9, 0.9), 10)  # type: ignore[arg-type]
    before = teacher.module[0].weight.clone()
    with torch.no_grad():
        student[0].weight.add_(1.0)
        student[1].running_mean.fill_(7.0)
    teacher.update(student, step=0)
    assert torch.allclose(teacher.module[0].weight, before + 0.1, atol=1e-6)
    assert teacher.module[1].running_mean.tolist() == [0.0, 0.0]
    assert [part.training for part in teaching(teacher.module)] == [False, True]


def answers(logits: torch.Tensor, *, least: float = 0.01) -> tuple[State, object]:
    state = State(logits.shape[1])
    state.see(logits, logits.softmax(1), torch.ones(len(logits)))
    state.settle(Team(), 0.9)
    return state, state.close(least)


def test_information_is_zero_in_both_kinds_of_collapse_and_whole_without() -> None:
    k = 8
    one_for_all = 50 * F.one_hot(torch.zeros(16, dtype=torch.long), k).float()
    each_its_own = 50 * F.one_hot(torch.arange(16) % k, k).float()
    for logits, entropy, information, dull in (
        (one_for_all, 0.0, 0.0, 1),
        (torch.zeros(16, k), 1.0, 0.0, 1),
        (each_its_own, 0.0, 1.0, 0),
    ):
        state, found = answers(logits)
        assert (found.entropy, found.information) == pytest.approx((entropy, information), abs=1e-6)  # type: ignore[attr-defined]
        assert int(state.dull) == dull
        assert not state.total.any()
        assert not state.mean.any()


def test_centre_moves_by_its_momentum_and_stand_ins_count_for_nothing() -> None:
    state = State(3)
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    state.see(logits, logits.softmax(1), torch.ones(2))
    state.see(torch.full((1, 3), 100.0), torch.full((1, 3), 1 / 3), torch.zeros(1))
    state.settle(Team(), 0.9)
    assert torch.allclose(state.centre, torch.full((3,), 0.2))
    assert state.total[0] == 2
    state.settle(Team(), 0.9)  # nothing new
    assert torch.allclose(state.centre, torch.full((3,), 0.2))


@pytest.mark.parametrize("name", ["resmlp_xs", "smlpnet_xs", "mixer_xs"])
def test_small_parts_pass_through_the_resized_model_and_gradients_reach_its_weights(name: str) -> None:
    dino = Dino(outputs=16, hidden=8, bottleneck=4)
    model = with_projection(create_model(name, img_size=(32, 32), num_classes=3), dino).eval()
    small = Smaller(model, (16, 16))
    images = torch.randn(3, 3, 16, 16)
    found = small(model, images)
    with headless(model):
        resized = resize(model, (16, 16), patches="same")
    assert torch.allclose(found, model.head(resized(images)), atol=1e-5)
    found.square().sum().backward()
    lacking = [key for key, p in model.named_parameters() if p.grad is None]
    assert lacking == []


def test_a_size_that_a_model_cannot_have_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"dino\.local_size has 15 × 15 pixels"):
        Smaller(with_projection(create_model("resmlp_xs"), Dino(outputs=4, hidden=4, bottleneck=4)), (15, 15))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"dino": {"global_area": [0.9, 0.4]}}, "global_area"),
        ({"dino": {"jitter": [0.4, 0.4, 0.2, 0.9]}}, "jitter"),
        ({"dino": {"momentum": [0.9, 1.1]}}, "momentum"),
        ({"dino": {"teacher_temperature": [0.0, 0.1]}}, "teacher_temperature"),
        ({"dino": {"outputs": 0}}, "outputs"),
        ({"dino": {"local_size": [0, 8]}}, "local_size"),
        ({"dino": {}, "train": {"ema": 0.9}}, r"train\.ema means nothing without labels"),
        ({"dino": {}, "augment": {"mixup": 0.2}}, "augment means nothing"),
        ({"dino": {}, "distill": {"teacher": "x"}}, "distill means nothing"),
    ],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        recipe_from(values)
