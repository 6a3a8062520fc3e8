"""Many attentive probes at once are what each would be alone: V-JEPA's pooler and a linear layer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from trainable.evaluate import attentive_heads
from trainable.evaluate.attentive_heads import AttentiveProbes, Setting, fit_and_tell, heads_of

WIDTH, CLASSES, TOKENS = 128, 5, 7
CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Numbers that say nothing."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(w: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """One probe as V-JEPA's modules compute it: keys and values of every token."""
    heads = heads_of(WIDTH)
    x = tokens * w["norm1"] + w["norm1_bias"]
    keys = x @ w["k"].flatten(0, 1).T
    values = x @ w["v"].movedim(0, 1).flatten(1) + w["v_bias"]
    asked = w["query"] @ w["q"] + w["q_bias"]
    asking, known, told = (
        part.reshape(len(x), -1, heads, WIDTH // heads).transpose(1, 2)
        for part in (asked.expand(len(x), 1, -1), keys, values)
    )
    attended = F.scaled_dot_product_attention(asking, known, told).transpose(1, 2).flatten(2)[:, 0]
    query = w["query"] + attended @ w["proj"] + w["proj_bias"]
    hidden = F.layer_norm(query, (WIDTH,)) * w["norm2"] + w["norm2_bias"]
    query = query + F.gelu(hidden @ w["fc1"] + w["fc1_bias"]) @ w["fc2"] + w["fc2_bias"]
    return query @ w["linear"] + w["linear_bias"]


def test_each_probe_is_the_cross_attention_block_of_v_jepa() -> None:
    probes = AttentiveProbes(2, 3, WIDTH, CLASSES, 0, CPU)
    with torch.no_grad():
        probes.flat += 0.05 * noise(*probes.flat.shape, seed=1)  # each its own
        tokens = noise(2, 4, TOKENS, WIDTH)
        logits = probes(tokens)
        weights = probes.weights()
        for probe in range(6):
            alone = plain({name: weight[probe] for name, weight in weights.items()}, tokens[probe // 3])
            torch.testing.assert_close(logits[probe], alone, rtol=1e-4, atol=1e-4)


def test_it_begins_with_tokens_of_mean_zero_and_variance_one_of_its_own_clips() -> None:
    probes, tokens = AttentiveProbes(2, 2, 8, CLASSES, 0, CPU), (3 * noise(12, TOKENS, 8) + 2).half()
    parts = [np.arange(6), np.arange(4, 12)]
    probes.standardise(tokens, parts)
    weights = probes.weights()
    for probe in range(4):
        seen = tokens[parts[probe // 2]].float() * weights["norm1"][probe] + weights["norm1_bias"][probe]
        torch.testing.assert_close(seen.mean(dim=(0, 1)), torch.zeros(8), rtol=0, atol=1e-4)
        torch.testing.assert_close(seen.var(dim=(0, 1), correction=0), torch.ones(8), rtol=1e-3, atol=0)


SETTINGS = (Setting(5e-3, 0.01), Setting(1e-3, 0.4))


def fitted(parts: list[list[int]]) -> list[torch.Tensor]:
    tokens, labels = noise(12, TOKENS, 8).half(), torch.arange(12) % 3
    return fit_and_tell(tokens, labels, [np.array(part) for part in parts], SETTINGS, seed=0, least_steps=30)


def test_probes_side_by_side_come_to_what_they_come_to_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [[*range(8)], [*range(4, 12)], [0, 2, 4, 6, 8, 10, 1, 3]]
    together = fitted(parts)
    monkeypatch.setattr(attentive_heads, "MOST_BYTES", 1)  # room for one part at a time
    for one, alone in zip(together, fitted(parts), strict=True):
        torch.testing.assert_close(one, alone, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[0][0], together[0][1]), "settings differ"


def test_the_clips_it_is_fitted_to_are_learnt_and_no_others_count() -> None:
    tokens, labels = noise(12, TOKENS, 8).half(), torch.arange(12) % 3
    part = np.arange(9)

    def told(labels: torch.Tensor) -> torch.Tensor:
        return fit_and_tell(tokens, labels, [part], SETTINGS[:1], seed=0, least_steps=100)[0][0]

    logits = told(labels)
    assert (logits[:9].argmax(dim=1) == labels[:9]).all()
    assert torch.equal(logits, told(torch.cat([labels[:9], labels[9:].flip(0)])))


@pytest.mark.parametrize(("width", "heads"), [(12, 1), (64, 1), (128, 2), (192, 3), (200, 2), (768, 12), (1024, 16)])
def test_heads_are_about_64_wide_and_divide_the_width(width: int, heads: int) -> None:
    assert heads_of(width) == heads
