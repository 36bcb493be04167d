"""What a report says of the best models: scores, actions and NMS windows."""

from hmtas.runs.record import WINDOWS
from tune.report import models, tables
from tune.report.facts import Facts, Section
from tune.report.style import html_of
from tune.report.windows import score_with
from tune.space.labels import counted


def best(facts: Facts) -> Section:
    """The best trials on games that had no part in the search, and how sure their order is."""
    scores = facts.scores
    title = "The best models"
    if scores is None:
        return Section(anchor="best", title=title, text=[f"No scores: {facts.why_no_scores}."])
    if scores.again:
        text = [
            "The best trials of the search were trained again with fresh seeds. The differences "
            "are paired over games, and their intervals hold together."
        ]
        assert facts.final is not None
        deviation = facts.final.seed_deviation
        text.append(
            "One training of each says nothing of seeds: the intervals are of the games alone."
            if deviation is None
            else "Trainings that differ in their seed alone are "
            f"{100 * deviation:.2f} points apart (standard deviation); that is in the intervals."
        )
    else:
        text = [
            f"The best trials of the search, on {counted(scores.num_games, 'game')} of "
            f"{scores.split} that had no part in it."
        ]
    fitted = facts.record.settings.base.train.stop_windows == "fitted"
    text.append(
        "Each game has the NMS windows that the other games choose."
        if fitted
        else "NMS windows are those of the configurations."
    )
    return Section(
        anchor="best",
        title=title,
        text=text,
        figure=html_of(models.scores_of_best(scores), "best"),
        caption="Bars are 95 % intervals over games. That two of them overlap does not say that "
        "the models are equal: the table has the paired differences.",
        tables=[("", tables.best_table(scores))],
    )


def actions(facts: Facts) -> Section:
    """Average precision of each action."""
    title = "Action by action"
    if facts.scores is None:
        return Section(anchor="actions", title=title, text=[f"No scores: {facts.why_no_scores}."])
    return Section(
        anchor="actions",
        title=title,
        figure=html_of(models.by_action(facts.scores), "actions"),
        caption="Average precision, with the number of events in brackets and 95 % intervals over "
        "games, of one action each; a hollow point has too few games with the action for one.",
        tables=[("The same as a table, %", tables.action_table(facts.scores))],
    )


def windows(facts: Facts) -> Section:
    """How far around a spot the same action is suppressed."""
    best = facts.best
    run = facts.runs.get(best.id) if best else None
    title = "NMS windows"
    if best is None or run is None:
        return Section(anchor="windows", title=title, text=["There is no model to have any."])
    actions, fitted = run.actions, facts.windows
    if fitted is None:
        text = (
            "Those of its configuration. `hmtas tune windows` finds others on stored "
            f"probabilities, without training: hmtas tune windows {facts.folder}/trials/*"
        )
    elif (facts.folder / best.run / WINDOWS).is_file():
        text = f"Fitted on {fitted.split} by `hmtas tune windows` ({fitted.method})."
        text += score_with(facts.folder / best.run, fitted)
    else:
        text = (
            f"The best on {fitted.split} together, as `hmtas tune windows` finds them. They scored "
            "no game here: in all scores each game has the windows that other games choose."
        )
    return Section(
        anchor="windows",
        title=title,
        text=[f"Of trial {best.id}. {text}"],
        figure=html_of(models.windows(run.config, actions, fitted), "windows"),
        caption="How far around a spot the same action is suppressed.",
        tables=[("Windows and rules by action", tables.window_table(run.config, actions, fitted))],
    )
