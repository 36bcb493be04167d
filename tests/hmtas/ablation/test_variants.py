"""`hmtas ablate` trains what its words name, and nothing twice."""

import pytest

from hmtas.ablation.variants import (
    CONTEXT,
    FAMILIES,
    choose,
    configuration,
    plan,
    rows_of,
    title_of,
)
from hmtas.errors import InputError
from hmtas.presets import PRESETS, THESIS_PER_ACTION

BOTH = ("vtn", "vggish")


def names(what: str) -> dict[str, list[str]]:
    return {study.name: [v.name for v in study.variants] for study in choose(what.split(","))}


def test_words_name_studies_or_single_variants() -> None:
    assert names("ladder") == {"ladder": [*(f"m{rung}" for rung in range(11)), "conv"]}
    assert names("m7,m0") == {"ladder": ["m0", "m7"]}, "in the order of the ladder"
    assert names("length-5,m1") == {"ladder": ["m1"], "length": ["m7", "length-5"]}
    assert names("attention,mixup") == {
        "attention": ["m7", "attention-batch"],
        "mixup": ["m7", "mixup-0.2"],
    }
    assert names("radius-2,target-hard") == {
        "radius": ["conv", "radius-2"],
        "target": ["conv", "target-hard"],
    }, "a setting of long contexts is changed in a model of long contexts"


@pytest.mark.parametrize("what", ["m11", "ladder,lenght", ""])
def test_an_unknown_word_is_refused_with_those_that_are_known(what: str) -> None:
    with pytest.raises(InputError, match=r"--what: unknown .*length \(length-2, length-3"):
        choose([word for word in what.split(",") if word])


def test_without_a_stream_for_audio_m6_is_m5() -> None:
    studies = choose(["ladder"])
    planned = plan(studies, {}, ["vtn"])
    assert planned["m6"].same_as == "m5"
    assert planned["m6"].why_same == "this store has no stream vggish"
    trained = [name for name, found in planned.items() if found.is_trained]
    assert trained == ["m0", "m1", "m2", "m3", "m4", "m5", "m7", "m8", "m9", "m10", "conv"]
    with_audio = plan(studies, {}, BOTH)
    assert all(found.is_trained for found in with_audio.values())


def test_a_reference_is_trained_alone_too() -> None:
    assert names("conv") == {"ladder": ["conv"]}
    assert names("m7,conv") == {"ladder": ["m7", "conv"]}


def test_a_reference_shows_what_it_is() -> None:
    def title(name: str, **settings: object) -> str:
        (study,) = choose([name])
        return title_of(study, plan([study], settings, BOTH)[CONTEXT])

    assert title("radius") == "conv: 2 s"
    assert title("displacement") == "conv: none", "its weight is that of nothing"
    assert title("displacement", displacement=True) == "conv: displacement, weight 0.1"
    assert title("balanced") == title("balanced", mixup_alpha=0.2) == "conv: no balanced mix-up"
    assert title("rate") == "conv: that of the rows"
    assert title("rate", output_rate_hz=2) == "conv: 2 Hz"


@pytest.mark.parametrize(("rate_hz", "same"), [(1.0, "rate-1"), (2.0, "rate-2")])
def test_the_rate_of_the_rows_is_not_trained_twice(rate_hz: float, same: str) -> None:
    planned = plan(choose(["rate"]), {}, BOTH, rate_hz)
    assert {name for name, found in planned.items() if not found.is_trained} == {same}
    assert planned[same].same_as == CONTEXT


def test_settings_that_make_rungs_equal_are_seen() -> None:
    planned = plan(choose(["m0", "m1", "m2", "m3"]), {"num_layers": 1, "seq_len": 5}, BOTH)
    assert {name: found.same_as for name, found in planned.items()} == {
        "m0": "m0",
        "m1": "m0",
        "m2": "m2",
        "m3": "m2",
    }


def test_every_value_of_a_setting_is_trained_once_and_shown_once() -> None:
    (study,) = choose(["length"])
    planned = plan([study], {}, BOTH)
    assert planned["length-3"].same_as == "m7"
    shown = rows_of(study, planned)
    lengths = [f"length-{value}" for value in (2, 4, 5, 7)]
    assert [found.variant.name for found in shown] == ["m7", *lengths]
    assert title_of(study, shown[0]) == "m7: L = 3"
    longer = plan([study], {"seq_len": 5}, BOTH)
    assert [found.config.train.seq_len for found in rows_of(study, longer)] == [5, 2, 3, 4, 7]
    (chunks,) = choose(["chunks"])
    first = rows_of(chunks, plan([chunks], {}, BOTH))[0]
    assert title_of(chunks, first) == "m7: single windows"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_variant_differs_from_its_reference_in_its_setting_alone(name: str) -> None:
    reference, *others = choose([name])[0].variants
    assert others
    before = configuration(reference, {"width": 64}, seed=4)
    for variant, value in zip(others, FAMILIES[name].values, strict=True):
        found = configuration(variant, {"width": 64}, seed=4)
        family = FAMILIES[name]
        assert found == before.updated({**family.also, family.path: value})
        assert found.flat()[family.path] == value


def test_all_stop_on_train_games_and_differ_by_seed() -> None:
    for variant in choose(["ladder"])[0].variants:
        config = configuration(variant, {}, seed=2)
        assert config.train.seed == 2
        assert config.train.stop_games == "held_out"
        preset = PRESETS[variant.name].config
        assert config.updated({"seed": 0, "stop_games": "valid"}) == preset


def test_a_setting_that_does_not_fit_a_rung_names_the_rung() -> None:
    with pytest.raises(InputError, match=r"m0: bad settings: .*gamma \(0.5\) must be 1"):
        plan(choose(["ladder"]), {"gamma": 0.5}, BOTH)


def test_a_rung_without_any_stream_is_named() -> None:
    with pytest.raises(InputError, match="m0: uses every stream but vggish"):
        plan(choose(["ladder"]), {}, ["vggish"])


def test_the_thesis_s_numbers_are_those_of_one_table() -> None:
    # Table 5.5 is the last row of Table 5.2 by action: its mean is M7's score.
    mean = sum(THESIS_PER_ACTION.values()) / len(THESIS_PER_ACTION)
    assert mean == pytest.approx(PRESETS["m7"].thesis_tight, abs=0.01)
