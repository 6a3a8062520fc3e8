"""What Weights & Biases is given of a search as a whole: its trials as a table, and their parallel coordinates.

W&B draws parallel coordinates by itself for its own sweeps alone. A sweep, and a saved workspace with such a panel,
have ids that its server gives out. Both need an account and a network before the first trial. What is logged as HTML is
a panel without a click, also after `wandb sync`.
"""

from typing import Any

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory


def overview(run: RunDirectory) -> dict[str, Any]:
    """Returns what is logged of a search by name, in the types of W&B; nothing where it has no trial, or is no run."""
    import wandb

    import analysis  # with pandas, which a search does without
    from analysis import charts
    from analysis.charts.html import to_html

    try:
        loaded = analysis.load(run.path)
    except RunError:  # whatever it lacks, the summary names
        return {}
    if loaded.trials.empty:
        return {}
    table = charts.base.trial_points(loaded).rename(columns={"value": "objective"})
    table = table.rename(columns={f"p{number}": name for number, name in enumerate(loaded.parameters)})
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    logged = {"trials": wandb.Table(columns=[*table.columns], data=rows, allow_mixed_types=True)}
    drawn = charts.parallel_coordinates(loaded)
    if drawn is not None:
        logged["parallel_coordinates"] = wandb.Html(to_html(drawn, "parallel coordinates"), inject=False)
    return logged
