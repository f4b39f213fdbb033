"""The table. A row does the same to either server and returns what it saw, by name. Both must have seen the same, except where the
row says how they differ: {name: (the original, heliod, why)}; why names the line of the protocol that has it so."""
ROWS = []


class Row:
    def __init__(self, section, do, differs):
        self.section, self.do, self.differs = section, do, differs
        self.name = f"{section} {do.__name__}"


def row(section, **differs):
    """Differences by name of observation; `at` is a dictionary of those whose names are no words."""
    differs = {**differs.pop("at", {}), **differs}

    def add(do):
        ROWS.append(Row(section, do, differs))
        return do

    return add


def compare(row_, theirs, ours):
    """Asserts; returns a line for the summary. Everything that is not as expected is listed at once."""
    assert ours and theirs, "the row saw nothing"
    wrong = []
    for key in sorted({*theirs, *ours, *row_.differs}, key=str):
        seen = theirs.get(key, "(not seen)"), ours.get(key, "(not seen)")
        if key in row_.differs and seen != row_.differs[key][:2]:
            wrong.append(f"{key}:\n  original {seen[0]}\n  heliod   {seen[1]}\n  expected to differ: {row_.differs[key]}")
        elif key not in row_.differs and (seen[0] != seen[1] or "(not seen)" in seen):
            wrong.append(f"{key}:\n  original {seen[0]}\n  heliod   {seen[1]}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert all(genuine != heliod for genuine, heliod, _ in row_.differs.values())
    whys = sorted({why for _, _, why in row_.differs.values()})
    return f"{len(theirs) - len(row_.differs)} the same" + (f"; otherwise, as intended: {'; '.join(whys)}" if whys else "")
