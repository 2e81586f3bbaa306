"""A simulated SunSpec device, written from SunSpec's own description: the mark, a list of models, its end."""

from collections.abc import Mapping, Sequence

from support.meters import HOLDING

MARK = (0x5375, 0x6E53)
END = (0xFFFF, 0)


def sunspec_registers(
    models: Sequence[tuple[int, Sequence[int]]], base: int = 40000
) -> tuple[dict[tuple[int, int], int], Mapping[int, int]]:
    """Return the registers of a device with these models (id, registers after the header), and each model's address."""
    words = list(MARK)
    begins: dict[int, int] = {}
    for model, content in models:
        begins.setdefault(model, base + len(words))
        words += [model, len(content), *content]
    words += END
    return {(HOLDING, base + i): word for i, word in enumerate(words)}, begins
