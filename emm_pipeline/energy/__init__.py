"""Energy of hours, days and months, from the readings of counters and powers.

    records.py      columns of readings and of results, flags, and what is known of a counter
    amounts.py      energy as whole numbers of a small unit, so that sums are exact
    units.py        which measurements are counters or powers, and their units
    scanning.py     one counter: glitches, resets, replaced devices, rollovers
    curves.py       all counters: the energy at each reading
    windows.py      the readings on which an interval depends, and the intervals that readings can change
    powers.py       the same from powers, for meters without a counter
    intervals.py    from curves to the energy, coverage and flags of intervals
    periods.py      hours, days and months of a time zone
    prices.py       tariffs: the price at each time
    costs.py        costs of intervals
    computing.py    hours from readings
    rollup.py       days from hours, months from days
    quality.py      checks; summary.py counts their results
    knowledge.py    counters and tariffs from the configuration
    sources.py      readings from the store, and results for it
    running.py      a run: read, compute, write

All but the last two are pure.
"""
