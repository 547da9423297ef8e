"""The translators: what each position sees, padding, one step at a time, and torch's own maths."""

import pytest
import torch
from translators import KINDS, sentences, small

from allmlp.errors import ModelError, ShapeError
from allmlp.translation.model import PAD, VARIANTS, create_translator


@pytest.mark.parametrize("name", KINDS)
def test_no_position_of_the_target_sees_the_future(name: str) -> None:
    """By gradient: scores at position i depend on the pieces up to i, and on every piece of the source."""
    model, source, target = small(name), sentences(5), sentences(6)
    embedded = {}
    model.embedding.register_forward_hook(lambda _, given, out: embedded.setdefault(len(given[0][0]), out))
    scores = model(source, target)
    for i in range(6):
        grads = torch.autograd.grad(scores[0, i].sum(), [embedded[6], embedded[5]], retain_graph=True)
        seen = grads[0][0].abs().sum(1) > 1e-12
        assert seen.tolist() == [j <= i for j in range(6)]
        assert bool((grads[1][0].abs().sum(1) > 1e-12).all())


@pytest.mark.parametrize("name", KINDS)
def test_a_sentence_does_not_depend_on_the_padding_of_its_batch(name: str) -> None:
    """float64: sums of the same numbers in another order."""
    model = small(name)
    source, target = sentences(3, 7, 5), sentences(4, 6, 2)
    together = model(source, target)
    for i, (s, n) in enumerate([(3, 4), (7, 6), (5, 2)]):
        alone = model(source[i : i + 1, :s], target[i : i + 1, :n])
        torch.testing.assert_close(together[i : i + 1, :n], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_a_step_at_a_time_has_the_scores_of_the_whole_pass(name: str) -> None:
    model, source, target = small(name), sentences(3, 7), sentences(6, 6)
    memory = model.encode(source)
    whole, state = model.decode(target, memory, source), model.begin(memory, source)
    for i in range(6):
        scores, state = model.step(target[:, i], state)
        torch.testing.assert_close(scores, whole[:, i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_a_state_can_be_that_of_other_sentences(name: str) -> None:
    model, source, target = small(name), sentences(3, 7), sentences(4, 4)
    rows = torch.tensor([1, 1, 0])
    state = model.begin(model.encode(source), source)
    for i in range(3):
        _, state = model.step(target[:, i], state)
    scores, _ = model.step(target[rows, 3], state.of(rows))
    torch.testing.assert_close(scores, model(source, target)[rows, 3], rtol=1e-10, atol=1e-10)


def test_the_encoder_mixes_as_written_in_the_paper() -> None:
    """x + γ A Aff(x), then x + γ MLP(Aff(x)), by hand, with the upper left part of A."""
    model = small("resmlp_mt_xs", depth=1)
    source = sentences(4)
    block = model.encoder[0]  # type: ignore[index]
    x = model.embedding.weight[source[0]] * 4.0  # √16
    mixed = block.mix.weight[:4, :4] @ (block.mixing.norm.alpha * x + block.mixing.norm.beta) + block.mix.bias[:4, None]
    x = x + block.mixing.scale.gamma * mixed
    hidden = torch.nn.functional.gelu(
        (block.thinking.norm.alpha * x + block.thinking.norm.beta) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    )
    x = x + block.thinking.scale.gamma * (hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias)
    torch.testing.assert_close(model.encode(source)[0], model.encoder_norm(x), rtol=1e-10, atol=1e-10)  # type: ignore[operator]


def test_attention_is_that_of_torch() -> None:
    """nn.MultiheadAttention with the same matrices, which it keeps as one."""
    model = small("resmlp_mt_xs")
    own = model.decoder[0].attention  # type: ignore[index]
    torchs = torch.nn.MultiheadAttention(16, 2, batch_first=True).double()
    torchs.in_proj_weight.data = torch.cat([own.queries.weight, own.facts.weight])
    torchs.in_proj_bias.data = torch.cat([own.queries.bias, own.facts.bias])
    torchs.out_proj.load_state_dict(own.out.state_dict())
    x, memory, there = torch.randn(2, 3, 16).double(), torch.randn(2, 5, 16).double(), sentences(5, 2) != PAD
    expected, _ = torchs(x, memory, memory, key_padding_mask=~there)
    torch.testing.assert_close(own(x, own.remember(memory), there), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_a_sentence_that_is_too_long_is_refused_with_its_length(name: str) -> None:
    model = small(name)
    with pytest.raises(ShapeError, match="a sentence of 13 pieces, and the model was made for 12"):
        model.encode(sentences(13))
    with pytest.raises(ShapeError, match="13 pieces"):
        model(sentences(3), sentences(13))


def test_the_published_sizes_have_the_parameters_that_a_sum_by_hand_has() -> None:
    """Of one encoder and one decoder block, times the depth, with the embedding and the last two Affine."""
    d, h, n, v = 512, 2048, 128, 1000
    mix, mlp, branch, attention = n * n + n, 2 * d * h + h + d, 3 * d, 4 * d * d + 4 * d
    for depth in (6, 12):
        with torch.device("meta"):
            model = create_translator(f"resmlp_mt_{depth}", vocabulary=v)
        expected = depth * (mix + mlp + 2 * branch + mix + mlp + attention + 3 * branch) + v * d + 4 * d
        assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_begins_with_scores_of_a_sensible_size(name: str) -> None:
    """Near those of equal probabilities: a loss far above log v would cost the first steps."""
    torch.manual_seed(0)
    model = create_translator(name, vocabulary=500).eval()
    pieces = torch.randint(4, 500, (4, 10))
    loss = torch.nn.functional.cross_entropy(model(pieces, pieces).flatten(0, 1), torch.randint(4, 500, (40,)))
    assert float(loss.detach()) < 3 * torch.tensor(500.0).log()


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ModelError, match="there is no translator"):
        create_translator("resmlp_mt_7", vocabulary=10)
    with pytest.raises(ModelError, match="3 heads do not share 16 channels"):
        small("resmlp_mt_xs", heads=3)
    with pytest.raises(ModelError, match="unexpected keyword"):
        small("transformer_mt_xs", layer_scale=0.1)
    with pytest.raises(ModelError, match="longest is 0"):
        small("resmlp_mt_xs", longest=0)
