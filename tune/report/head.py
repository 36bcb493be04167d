"""What a report says first: whether the study is done, the answer in words, a few numbers."""

from hmtas.terminal import text
from tune.report.facts import Facts, Tile
from tune.report.scores import Scores, verdict_of_scores
from tune.report.tables import duration
from tune.space.labels import counted, percent
from tune.study.finalists import verdict_of
from tune.study.lock import driver_of
from tune.study.record import TrialRow, pareto_front, score_of


def state(facts: Facts) -> str:
    """What is to be known of a study that is not done; nothing of one that is."""
    if facts.record.status == "done":
        return ""
    record = facts.record
    ended = facts.count("done", "stopped", "failed")
    text = f"This study is not finished: {ended} of {record.num_trials} trials have ended"
    running = facts.count("running")
    text += f"; {running} were running. " if running else ". "
    driver = driver_of(facts.folder)
    if driver is not None:
        return f"{text}It is at work ({driver}); this is what was known when the page was drawn."
    return f"{text}No driver is at work on it. Go on with: hmtas tune resume {facts.folder}"


def lead(facts: Facts) -> list[str]:
    """The answer, in words."""
    best, record = facts.best, facts.record
    if best is None:
        failed = facts.count("failed")
        if failed and failed == len(record.trials):
            return [f"Every trial failed ({failed} of {failed}): see the failures below."]
        return ["No trial has a score yet."]
    said = []
    if facts.final is not None:
        verdict = verdict_of(facts.final)
        said.append(verdict[0].upper() + verdict[1:])
        if facts.scores is not None:
            estimate = text.estimate(*facts.scores.candidates[0].scores[facts.scores.metric])
            said.append(f"With its 95 % interval over games and seeds: {estimate} %.")
    elif facts.scores is not None:
        said.append(_without_final(facts.scores, len(record.trials)))
    else:
        said.append(f"There is no score with an interval: {facts.why_no_scores}.")
    said.append(_in_search(facts, best))
    if record.settings.options.objective == "both":
        said.append(
            f"{len(pareto_front(record))} trials are on the front: no other one is better in both."
        )
    return said


def _without_final(scores: Scores, num_trials: int) -> str:
    first = scores.candidates[0]
    return (
        f"The best of {counted(num_trials, 'trial')} in the search, {first.trial}, has "
        f"{scores.metric} {text.estimate(*first.scores[scores.metric])} % (95 % interval) on "
        f"{counted(scores.num_games, 'game')} of {scores.split}, which had no part in the search. "
        f"{verdict_of_scores(scores)}"
    )


def _in_search(facts: Facts, best: TrialRow) -> str:
    score = percent(score_of(best, facts.record.settings.options.objective))
    text = f"In the search {best.id} reached {facts.metric} {score} %"
    run = facts.runs.get(best.id)
    if run is not None and run.stopped_games:
        text += f" on {counted(len(run.stopped_games), 'game')} that chose the epoch"
    return f"{text}: a number that was picked for being high."


def tiles(facts: Facts) -> list[Tile]:
    """The numbers that are read first."""
    record, found = facts.record, []
    if facts.scores is not None:
        scores = facts.scores
        estimate = scores.candidates[0].scores[scores.metric]
        found.append(
            Tile(
                f"{percent(estimate.score)} %",
                f"{scores.metric}, {scores.candidates[0].trial}, "
                f"{counted(scores.num_games, 'game')} of {scores.split}; "
                f"95 %: {_reach(estimate.interval)}",
            )
        )
    if facts.final is not None and len(facts.final.finalists) > 1:
        corrected = percent(facts.final.corrected)
        found.append(Tile(f"{corrected} %", "the same, corrected for having been picked"))
    states = [
        f"{number} {word}"
        for word, names in (
            ("finished", ("done",)),
            ("stopped early", ("stopped",)),
            ("failed", ("failed",)),
            ("running", ("running",)),
            ("waiting", ("waiting",)),
        )
        if (number := facts.count(*names))
    ]
    found.append(Tile(counted(len(record.trials), "trial"), ", ".join(states) or "none has begun"))
    found.append(Tile(duration(facts.budget.spent_s), "of searching"))
    options = record.settings.options
    number = len(record.settings.space.dimensions)
    found.append(
        Tile(counted(number, "dimension"), f"proposed by {options.sampler}, {options.pruner}")
    )
    return found


def _reach(ends: tuple[float, float] | None) -> str:
    return "one game has no interval" if ends is None else text.interval(ends)
