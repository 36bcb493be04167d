"""One simulated season: what `hmtas ensemble select` chooses in it, and naively, and the truth.

The truth of a choice is its mean score on sets of as many unseen games of the same kind: a score
depends on the number of games. Greedy selection has fewer bags and picks than by default, fewer NMS
windows are tried, and the selection goes without the learned fusion, all to save time.

Naive selection fits the same combiners and the best windows of each on the validation games and
takes what scores highest on these very games, a learned fusion of the best four models among them,
as the thesis did. It does without what keeps fits from being luck: folds, the shortlist, bags, what
actions borrow from each other, and games that stop the fusion. For comparison the fits of the
selection itself are scored on the games that they were fitted on, too.

Some sets of games are harder than others, for every choice alike. That noise is taken out of what
is claimed minus true: the plain mean of all models under fixed windows, which nobody chose or
fitted, has no bias, so its score on the validation games minus its truth is the luck of the games.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from simulate import Model
from simulated_models import NAMES, Games, evidence_of, records, rows_of, simulate_games

from ensemble.combiner import Combiner, Evidence, Fitted, FittedWeights
from ensemble.combiners.methods import candidate_of, combiner_of
from ensemble.combiners.shortlist import MOST_LEARNED, Shortlisted, Single
from ensemble.combiners.weighting import ScoreWeights
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.combiner import Learned
from ensemble.learned.network import FusionConfig
from ensemble.selection.choose import SINGLE, Selection, search
from ensemble.selection.nested import fitting_sets
from hmtas.config import SpottingConfig
from hmtas.metric.averages import TIGHT_S, score
from hmtas.metric.counts import histograms
from hmtas.spotting.spots import spot
from hmtas.spotting.table import Setting, tabulate
from hmtas.spotting.windows import BORROWED, fit_exact
from hmtas.statistics.folds import game_folds

UNSEEN = 10**6  # seeds from here on draw the games that tell the truth
SETTINGS = tuple(Setting("hard", width) for width in (3.0, 5.0, 7.0, 9.0, 13.0))
FIXED = SpottingConfig(nms="hard", windows_s=dict.fromkeys(NAMES, 5.0))
SCORED = ("mean", "squared", "squared-per-action", "squared-logit")
GREEDY = GreedyConfig(bags=4, picks=20)
METHODS = (*SCORED, "greedy", "greedy-logit")
SEEN_FUSION = FusionConfig(epochs=30, max_rows=4096, held_out_share=0.0)
MEASURED = 4  # of equal models, whose mean score is that of them all
WORSE = 0.002  # a choice that is this much worse than the single model is a failure of the guard
EQUAL, UNEQUAL, ONE_BEST, INDEPENDENT, NOISE = KINDS = (
    "equal, correlated",
    "unequal, correlated",
    "one clearly best",
    "equal, independent",
    "with pure noise",
)


class Sizes(NamedTuple):
    """How much is simulated."""

    seasons: int
    models: int
    games: int  # to select on
    sets: int  # of as many games, behind each truth


class Choice(NamedTuple):
    """What can be scored on any games."""

    fitted: Fitted
    spotting: SpottingConfig


class Season(NamedTuple):
    """What was chosen in one season and what it is worth; scores are Average-mAP in [0, 1].

    Attributes:
        number: Which season.
        kind: Of `KINDS`.
        chosen: Name of the answer.
        claimed: Of it.
        true: Of it.
        single: Truth of the single model.
        naive_claimed: What naive selection shows of its choice.
        naive_true: What its choice delivers.
        seen_claimed: The best score of the selection's own fits on the games they were fitted on.
        seen_true: What that one delivers.
        luck: Of the validation games, the same for all.
        noise_weight: The largest that any fit of any combiner gives to the noise.
        one_model: Truth of a model, where all are equal; nan elsewhere.
        oracle: Truth of the best combination there was; nan elsewhere.
    """

    number: int
    kind: str
    chosen: str
    claimed: float
    true: float
    single: float
    naive_claimed: float
    naive_true: float
    seen_claimed: float
    seen_true: float
    luck: float
    noise_weight: float
    one_model: float
    oracle: float

    @property
    def claim_error(self) -> float:
        return self.claimed - self.true - self.luck

    @property
    def naive_error(self) -> float:
        return self.naive_claimed - self.naive_true - self.luck

    @property
    def seen_error(self) -> float:
        return self.seen_claimed - self.seen_true - self.luck

    @property
    def failed(self) -> bool:
        return self.true < self.single - WORSE


def combiners() -> dict[str, Combiner]:
    return {method: candidate_of(method, combiner_of(method, greedy=GREEDY)) for method in METHODS}


def invent_models(kind: str, num: int, seed: int) -> list[Model | None]:
    """Models of one season, the noise among them None."""
    draw = np.random.default_rng([seed, 3])
    if kind == EQUAL:
        own_noise = draw.uniform(0.3, 0.9)
        return [Model(own_noise=own_noise, seed=m) for m in range(num)]
    if kind == INDEPENDENT:
        return [Model(shared=0.0, own_noise=1.1, own_shift_s=0.75, seed=m) for m in range(num)]
    if kind == ONE_BEST:
        # The others repeat each other's errors: there is little to gain from them.
        models = [Model(skill=1.7, own_noise=0.3, seed=m) for m in range(num)]
        best = int(draw.integers(num))
        models[best] = Model(skill=1.7 + draw.uniform(0.5, 1.5), own_noise=0.3, seed=best)
        return list(models)
    unequal: list[Model | None] = [
        Model(skill=draw.uniform(1.2, 2.4), own_noise=draw.uniform(0.3, 0.9), seed=m)
        for m in range(num)
    ]
    if kind == NOISE:
        unequal[int(draw.integers(num))] = None
    return unequal


def simulate_season(number: int, sizes: Sizes) -> Season:
    kind = KINDS[number % len(KINDS)]
    models = invent_models(kind, sizes.models, number)
    games = simulate_games(sizes.games, number)
    rows_GMTA = rows_of(games, models)
    evidence = evidence_of(games, rows_GMTA)
    folds = game_folds(evidence.games, 5, number)
    selection = search(evidence, combiners(), folds, SETTINGS, seed=number)
    own = [ranked.nested.fitted for ranked in selection.ranked]
    seen_claimed, seen = best_seen(own, games, rows_GMTA, BORROWED)
    plain = fit_naively(evidence).values()
    naive_claimed, naive = best_seen(plain, games, rows_GMTA, borrowed=0.0)
    # Each model that is none but noise has the same weight: nobody chose or fitted that.
    known = np.array([model is not None for model in models])
    mean = Choice(FittedWeights(weights=known / known.sum()), FIXED)
    choices = {
        "chosen": choice_of(selection, selection.chosen),
        "single": choice_of(selection, SINGLE),
        "naive": naive,
        "seen": seen,
        "reference": mean,
    }
    if kind == INDEPENDENT:
        windows = choice_of(selection, SINGLE).spotting
        for m in range(MEASURED):
            alone = FittedWeights(weights=np.eye(sizes.models)[m])
            choices[f"one {m}"] = Choice(alone, windows)
        choices |= {f"oracle {name}": choice_of(selection, name) for name in SCORED}
    truth = true_scores(choices, models, number, sizes)
    return Season(
        number=number,
        kind=kind,
        chosen=selection.chosen,
        claimed=selection.claimed,
        true=truth["chosen"],
        single=truth["single"],
        naive_claimed=naive_claimed,
        naive_true=truth["naive"],
        seen_claimed=seen_claimed,
        seen_true=truth["seen"],
        luck=score_of(mean, games, rows_GMTA) - truth["reference"],
        noise_weight=largest_weight(selection, ~known),
        one_model=_over(np.mean, truth, "one "),
        oracle=_over(np.max, truth, "oracle "),
    )


def choice_of(selection: Selection, method: str) -> Choice:
    """A combiner as it would be applied to new games."""
    nested = selection.of(method).nested
    return Choice(nested.fitted, nested.windows.spotting())


def fit_naively(evidence: Evidence) -> dict[str, Fitted]:
    """The best model and every combiner, fitted on all games without protection."""
    seen = fitting_sets(evidence, (), SETTINGS)[0].evidence
    plain: dict[str, Combiner] = {SINGLE: Single()}
    for method in METHODS:
        combiner = combiner_of(method, greedy=GREEDY.model_copy(update={"bags": 1}))
        if isinstance(combiner, ScoreWeights):
            combiner = replace(combiner, borrowed=0.0)
        plain[method] = combiner
    plain["learned"] = Shortlisted(combiner=Learned(config=SEEN_FUSION), most=MOST_LEARNED)
    return {name: combiner.fit(seen, seen.games) for name, combiner in plain.items()}


def best_seen(
    fits: Iterable[Fitted], games: Games, rows_GMTA: np.ndarray, borrowed: float
) -> tuple[float, Choice]:
    """The best score on the games that everything was fitted on, windows too, and what has it."""
    found = []
    for fitted in fits:
        rows = records(games, [fitted.combine(rows_MTA) for rows_MTA in rows_GMTA])
        names = [half.game for half in games.halves]
        settings_A = fit_exact(tabulate(rows, games.events, [names], SETTINGS)[0], borrowed)
        windows_s = {a: s.window_s for a, s in zip(NAMES, settings_A, strict=True)}
        choice = Choice(fitted, SpottingConfig(nms="hard", windows_s=windows_s))
        found.append((score_of(choice, games, rows_GMTA), choice))
    return max(found, key=lambda each: each[0])


def score_of(choice: Choice, games: Games, rows_GMTA: np.ndarray) -> float:
    """Tight Average-mAP of some games."""
    combined = [choice.fitted.combine(rows_MTA) for rows_MTA in rows_GMTA]
    spots = spot(records(games, combined), NAMES, choice.spotting)
    return score(histograms(spots, games.events, TIGHT_S, len(NAMES))).average_map


def true_scores(
    choices: Mapping[str, Choice], models: Sequence[Model | None], number: int, sizes: Sizes
) -> dict[str, float]:
    """Mean score of each choice over the same sets of unseen games."""
    found: dict[str, list[float]] = {name: [] for name in choices}
    for one in range(sizes.sets):
        games = simulate_games(sizes.games, UNSEEN + 1000 * number + one)
        rows_GMTA = rows_of(games, models)
        known: dict[tuple[int, str], float] = {}  # the single model may be the answer
        for name, choice in choices.items():
            key = id(choice.fitted), choice.spotting.model_dump_json()
            if key not in known:
                known[key] = score_of(choice, games, rows_GMTA)
            found[name].append(known[key])
    return {name: float(np.mean(scores)) for name, scores in found.items()}


def largest_weight(selection: Selection, of_M: np.ndarray) -> float:
    """That any fit, on all games or for a fold, gives to some of the models."""
    largest = 0.0
    for ranked in selection.ranked:
        for fitted in (ranked.nested.fitted, *(fold.fitted for fold in ranked.nested.folds)):
            assert fitted.weights is not None
            largest = max(largest, float(fitted.weights[of_M].max(initial=0.0)))
    return largest


def _over(reduce: Callable[..., float], truth: Mapping[str, float], prefix: str) -> float:
    values = [value for name, value in truth.items() if name.startswith(prefix)]
    return float(reduce(values)) if values else float("nan")
