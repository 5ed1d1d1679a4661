"""The tests of ``make quick``: a few of every room, chosen for being quick and for failing when the room is broken.

python -m tests.quick        # prints them for pytest
"""

from __future__ import annotations

REFERENCES = "tests/methods/test_references.py"


def of(file: str, *tests: str) -> tuple[str, ...]:
    """Some tests of a file that has slower ones too."""
    return tuple(f"{file}::{test}" for test in tests)


QUICK: dict[str, tuple[str, ...]] = {
    "cli": ("tests/cli/test_doors.py",),
    "config": of(
        "tests/config/test_loading.py",
        "test_the_recipe_of_the_design",
        "test_round_trip",
        "test_overrides",
        "test_mistakes_carry_their_line",
    ),
    "data": ("tests/data/test_splits.py",),
    "files": of(
        "tests/test_files.py",
        "test_every_form_gives_the_same_records_with_their_lines",
        "test_every_mistake_is_one_sentence_with_its_line",
        "test_a_failed_write_leaves_what_was_there",
        "test_a_folder_is_replaced_or_refused",
    ),
    "inference": ("tests/inference/test_rows.py",),
    "methods": ("tests/methods/test_ledger.py",),
    "methods/additive": (f"{REFERENCES}::test_the_adapter_is_its_equation",),
    "methods/fusion": (f"{REFERENCES}::test_fusions_are_their_formulas",),
    "methods/reparameterization": (f"{REFERENCES}::test_lora_is_w_plus_scaled_b_a",),
    "methods/selective": (f"{REFERENCES}::test_magnitude_takes_the_smallest_and_gradient_the_largest",),
    "methods/stabilisers": (f"{REFERENCES}::test_l2_sp_pulls_with_half_the_squared_distance",),
    "metrics": ("tests/metrics/test_units_sets.py",),
    "models": of(
        "tests/models/test_identity.py",
        "test_one_weight_changes_it_wherever_it_stands",
        "test_dtype_shape_and_name_matter",
    ),
    "planning": of("tests/planning/test_command.py", "test_json_has_the_agreed_keys", "test_mistakes_are_one_sentence"),
    "pocket": ("tests/pocket/test_tokens.py",),
    "predictions": of(
        "tests/predictions/test_readers.py",
        "test_llava_answers",
        "test_lmms_eval_samples",
        "test_vlmevalkit_tables",
        "test_plain_tables",
        "test_unknown_things_are_refused",
        "test_gzipped_json",
    ),
    "reports": ("tests/reports/test_explorer.py",),
    "results": ("tests/results/test_points.py",),
    "runs": ("tests/runs/test_folder.py",),
    "scoring": ("tests/scoring/test_command.py",),
    "speed": ("tests/speed/sharing/test_packing.py", "tests/speed/sharing/test_attention.py"),
    "studies": ("tests/studies/test_study.py", "tests/studies/test_grid.py"),
    "testing": of(
        "tests/testing/test_plugin.py", "test_the_walk_is_short", "test_a_package_without_methods_is_a_sentence"
    ),
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
