"""Questions of which several are about one image."""

from __future__ import annotations

import numpy as np

from holdfast.data.examples import Example, Turn, image_key


def questions(images: int = 1, *, pictures: int = 2, each: int = 3, seed: int = 0) -> list[Example]:
    """``each`` questions of different length about each of ``pictures`` sets of ``images`` images, mixed up, with one
    question about no image among them.
    """
    random = np.random.default_rng(seed)
    made = [Example("text", (), (Turn("what is red ?", ("a colour",)),))]
    for index in range(pictures):
        shown = tuple(random.integers(0, 255, (16 + 8 * index, 24, 3), dtype=np.uint8) for _ in range(images))
        for number in range(each):
            text = "what is it ? "[: 6 + 3 * number] + "é" * index
            turns = (Turn(text, (("yes", "a red one", "no")[number % 3],)),)
            if number == 1:
                turns = (Turn("first ?", ("one",)), *turns)
            if images > 1:  # Qwen-VL's positions take two images without a token between them for one
                opening = turns[0].question
                turns = (Turn("<image> and <image> : " + opening, turns[0].answers), *turns[1:])
            made.append(Example(f"{index}-{number}", shown, turns, image_key(shown)))
    return [made[int(i)] for i in random.permutation(len(made))]
