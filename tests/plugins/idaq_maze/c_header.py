"""A policy format: a C header with the numbers, for a microcontroller without a file system."""

from pathlib import Path

import idaq


class CHeader:
    """policy.h: one array of floats for each array of the policy."""

    description = "policy.h: the arrays as static const float, for C"
    how_to_run = '`#include "policy.h"`; the formula below is what the program must calculate.'

    def write(self, policy: idaq.DensePolicy, folder: Path) -> list[str]:
        lines = [f"/* layers: {', '.join(policy.activations)}; weights row by row */"]
        for name, array in policy.arrays().items():
            numbers = ", ".join(f"{number!r}f" for number in array.ravel().tolist())
            lines.append(f"static const float {name.replace('.', '_')}[{array.size}] = {{{numbers}}};")
        (folder / "policy.h").write_text("\n".join(lines) + "\n")
        return ["policy.h"]
