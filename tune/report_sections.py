"""What a report says, section by section; words first, then pictures, then tables."""

import json

from hmtas.runs import WINDOWS
from tune import report_figures as figures
from tune import report_models as models
from tune import report_space as space_figures
from tune import report_tables as tables
from tune.default_space import space_document
from tune.importance import FEWEST
from tune.record import front
from tune.repeat import SPACE_FILE, commands, reproduce_line, train_line
from tune.report_facts import Code, Facts, Section
from tune.report_names import counted, in_order, label_of
from tune.report_style import html_of
from tune.report_windows import score_with


def sections(facts: Facts) -> list[Section]:
    """All of a page, in its order."""
    made = [
        _best(facts),
        _history(facts),
        _front(facts) if facts.record.settings.options.objective == "both" else None,
        _importance(facts),
        _parallel(facts),
        _slices(facts),
        _curves(facts),
        _actions(facts),
        _windows(facts),
        _trials(facts),
        _failures(facts),
        _time(facts),
        _space(facts),
        _settings(facts),
        _repeat(facts),
    ]
    return [section for section in made if section is not None]


def _best(facts: Facts) -> Section:
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


def _history(facts: Facts) -> Section:
    trials = facts.record.trials
    return Section(
        anchor="history",
        title="How the search went",
        figure=html_of(figures.history(facts.record), "history") if trials else None,
        text=[] if trials else ["No trial has begun."],
        caption="Scores on the games that stop the training. A trial that was stopped early shows "
        "the best it had reached; one that failed before its first epoch lies at 0.",
    )


def _front(facts: Facts) -> Section:
    kept = front(facts.record)
    return Section(
        anchor="front",
        title="Tight against loose",
        figure=html_of(figures.pareto(facts.record), "front") if kept else None,
        text=[] if kept else ["No trial has both scores."],
        caption="Both were maximised. Circled: no other trial is better in both.",
        tables=[("", tables.front_table(facts.record))] if kept else [],
    )


def _importance(facts: Facts) -> Section:
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


def _parallel(facts: Facts) -> Section:
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


def _slices(facts: Facts) -> Section:
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


def _curves(facts: Facts) -> Section:
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


def _actions(facts: Facts) -> Section:
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


def _windows(facts: Facts) -> Section:
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


def _trials(facts: Facts) -> Section:
    return Section(
        anchor="trials",
        title="All trials",
        text=["Best first, by the search's own score. Click a heading to sort."],
        tables=[("", tables.trial_table(facts.record))],
    )


def _failures(facts: Facts) -> Section:
    failed = tables.failure_table(facts.record, facts.final)
    notes = tables.note_table(facts.runs)
    return Section(
        anchor="failures",
        title="Failures",
        text=[] if failed.rows else ["No trial failed."],
        tables=([("", failed)] if failed.rows else []) + ([("", notes)] if notes.rows else []),
    )


def _time(facts: Facts) -> Section:
    spent = any(row.seconds for row in facts.record.trials)
    return Section(
        anchor="time",
        title="Time",
        figure=html_of(figures.durations(facts.record), "durations") if spent else None,
        tables=[("", tables.time_table(facts.record, facts.budget))],
    )


def _space(facts: Facts) -> Section:
    document = space_document(facts.record.settings.space)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return Section(
        anchor="space",
        title="What was searched",
        tables=[("", tables.space_table(facts.record))],
        codes=[Code(f"The space, for --space {SPACE_FILE}", text, SPACE_FILE)],
    )


def _settings(facts: Facts) -> Section:
    base = facts.record.settings.base.model_dump(mode="json")
    codes = [Code("Where the search began, and what it held fixed", _json(base), "base.json")]
    run = facts.runs.get(facts.best.id) if facts.best else None
    if run is not None and facts.best is not None:
        config = _json(run.config.model_dump(mode="json"))
        codes.insert(
            0, Code(f"Configuration of the best, trial {facts.best.id}", config, "best.json")
        )
    return Section(
        anchor="settings",
        title="The exact configuration",
        tables=[
            ("", tables.about_table(facts.folder, facts.record)),
            ("Versions when this page was drawn", tables.version_table(facts.record)),
        ],
        codes=codes,
    )


def _repeat(facts: Facts) -> Section:
    codes = [Code(one.what, one.line) for one in commands(facts.folder, facts.record)]
    if facts.best is not None:
        run = facts.folder / facts.best.run
        codes[1:1] = [
            Code("Train the best model again", train_line(facts.record, run)),
            Code("Make it again as it was, and compare", reproduce_line(run)),
        ]
    once = facts.record.load is not None and facts.record.load.concurrent == 1
    text = "With one trial at a time the same seed proposes the same points."
    if not once:
        text += " Several trials ran at a time here: which of them ends first is not repeated."
    return Section(anchor="repeat", title="How to repeat it", text=[text], codes=codes)


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
