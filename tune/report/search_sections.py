"""What a report says of the search: how it went, and which settings mattered."""

from tune.report import figures, space_figures, tables
from tune.report.facts import Facts, Section
from tune.report.importance import FEWEST
from tune.report.style import html_of
from tune.space.labels import counted, in_order, label_of
from tune.study.record import pareto_front


def history(facts: Facts) -> Section:
    """The scores of the trials in the order they came."""
    trials = facts.record.trials
    return Section(
        anchor="history",
        title="How the search went",
        figure=html_of(figures.history(facts.record), "history") if trials else None,
        text=[] if trials else ["No trial has begun."],
        caption="Scores on the games that stop the training. A trial that was stopped early shows "
        "the best it had reached; one that failed before its first epoch lies at 0.",
    )


def front(facts: Facts) -> Section:
    """Tight against loose, where both were maximised."""
    kept = pareto_front(facts.record)
    return Section(
        anchor="front",
        title="Tight against loose",
        figure=html_of(figures.pareto(facts.record), "front") if kept else None,
        text=[] if kept else ["No trial has both scores."],
        caption="Both were maximised. Circled: no other trial is better in both.",
        tables=[("", tables.front_table(facts.record))] if kept else [],
    )


def importance(facts: Facts) -> Section:
    """Which settings explain the scores, beside what chance would show."""
    found, space = facts.importances, facts.record.settings.space
    text = []
    if not found.found:
        text.append(
            f"{counted(found.num_trials, 'trial')} with a score cannot say it; at least {FEWEST} "
            "are needed, with a setting that differs."
        )
    else:
        text.append(
            f"How far the {found.num_best} best of {found.num_trials} trials differ from all of "
            "them in each setting (PED-ANOVA). The mark is where chance alone would end: with "
            "scores shuffled among the trials, 95 % of the importances stay below it. "
            "A bar that ends before its mark is pale, and says nothing."
        )
        few = 10 * len(space.dimensions)
        if found.num_trials < few:
            text.append(
                f"Caution: {found.num_trials} trials are few for {len(space.dimensions)} "
                f"dimensions. Take this for a hint below some {few}, and only of this space: "
                "a setting whose range is all good looks unimportant."
            )
    if found.left_out:
        names = ", ".join(label_of(key, space) for key in found.left_out)
        text.append(f"Left out, as fewer than two trials or values are there: {names}.")
    conditional = [label_of(key, space) for key, d in space.dimensions.items() if d.when]
    if conditional and found.found:
        text.append(
            f"There only under a condition, and compared where it holds: {', '.join(conditional)}."
        )
    shown = found.found
    return Section(
        anchor="importance",
        title="Which settings mattered",
        text=text,
        figure=html_of(figures.importance(found, facts.record), "importance") if shown else None,
        caption="Stopped trials count with the best score they had reached.",
    )


def parallel(facts: Facts) -> Section:
    """Every trial as a line through its settings."""
    keys, left_out = space_figures.shown_axes(facts.record, facts.importances)
    least = "least important " if facts.importances.found else ""
    text = [f"The {left_out} {least}dimensions are left out here."] if left_out else []
    scored = facts.best is not None
    return Section(
        anchor="parallel",
        title="Every trial at once",
        text=text if scored else ["No trial has a score."],
        figure=html_of(space_figures.parallel(facts.record, keys), "parallel", buttons=False)
        if scored
        else None,
        caption="A line per trial, dark for a high score. Drag along an axis to keep the trials "
        "that pass there; drag a name to move its axis. A line that leaves an axis below its end "
        "is a trial without that setting.",
    )


def slices(facts: Facts) -> Section:
    """Scores over one setting at a time."""
    keys = in_order(facts.record.settings.space)
    shown = keys[: space_figures.PANELS]
    left_out = len(keys) - len(shown)
    ok = facts.best is not None and shown
    return Section(
        anchor="slices",
        title="Setting by setting",
        text=[f"{left_out} more dimensions are in the table of trials."] if left_out else [],
        figure=html_of(space_figures.slices(facts.record, shown), "slices") if ok else None,
        caption="L, gamma and class weights first. The best trial has a ring. Nothing is held "
        "fixed here: a setting that looks good may have met good company.",
    )


def curves(facts: Facts) -> Section:
    """Scores by epoch, and where trials were stopped."""
    epochs = {trial: run.history for trial, run in facts.runs.items()}
    trained = any(epochs.values())
    best = facts.best.id if facts.best else None
    return Section(
        anchor="curves",
        title="Learning curves",
        text=[] if trained else ["No trial has finished an epoch."],
        figure=html_of(figures.curves(facts.record, epochs, best), "curves") if trained else None,
        caption="The score after each epoch, on the games that stop the training. A cross is "
        "where a trial was stopped early, or failed; others ended by their own stopping rule.",
    )
