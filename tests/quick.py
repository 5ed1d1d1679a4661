"""The tests of ``make quick``: a few of every room, chosen for being quick and for failing when the room is broken.

python -m tests.quick        # prints them for pytest
"""

from __future__ import annotations

REFERENCES = "tests/methods/test_references.py"

QUICK: dict[str, tuple[str, ...]] = {
    "cli": ("tests/cli/test_doors.py",),
    "config": ("tests/config/test_loading.py",),
    "data": ("tests/data/test_splits.py",),
    "files": ("tests/test_files.py",),
    "inference": ("tests/inference/test_rows.py",),
    "methods": ("tests/methods/test_ledger.py",),
    "methods/additive": (f"{REFERENCES}::test_the_adapter_is_its_equation",),
    "methods/fusion": (f"{REFERENCES}::test_fusions_are_their_formulas",),
    "methods/reparameterization": (f"{REFERENCES}::test_lora_is_w_plus_scaled_b_a",),
    "methods/selective": (f"{REFERENCES}::test_magnitude_takes_the_smallest_and_gradient_the_largest",),
    "methods/stabilisers": (f"{REFERENCES}::test_l2_sp_pulls_with_half_the_squared_distance",),
    "metrics": ("tests/metrics/test_units_sets.py",),
    "models": ("tests/models/test_identity.py",),
    "planning": ("tests/planning/test_command.py",),
    "pocket": ("tests/pocket/test_tokens.py",),
    "predictions": ("tests/predictions/test_readers.py",),
    "reports": ("tests/reports/test_explorer.py",),
    "runs": ("tests/runs/test_folder.py",),
    "scoring": ("tests/scoring/test_command.py",),
    "speed": ("tests/speed/sharing/test_packing.py", "tests/speed/sharing/test_attention.py"),
    "studies": ("tests/studies/test_study.py",),
    "tasks": ("tests/tasks/test_cards.py",),
    "training": ("tests/training/test_batches.py",),
    "verdict": ("tests/verdict/test_command.py",),
}
"""Room -> tests, as pytest takes them. ``tests/test_quick.py`` fails when a room has none."""

ALWAYS = ("tests/test_floors.py", "tests/test_quick.py", "tests/test_docs.py")


def chosen() -> list[str]:
    """All of them, each once."""
    return list(dict.fromkeys([*ALWAYS, *(test for tests in QUICK.values() for test in tests)]))


if __name__ == "__main__":
    print(" ".join(chosen()))
