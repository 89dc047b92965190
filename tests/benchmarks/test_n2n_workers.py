"""N2N's workers: two against one, on two idle cores with a thread each; and memory over 200 students."""

import json
import pathlib
import subprocess
import sys

import measuring
import n2n_workers

HERE = pathlib.Path(__file__).parent
STUDENTS, ROUNDS, MANY = 6, 3, 200


def test_two_workers_against_one(table):
    """Wall time of the students of an update; both pools have warmed up with as many students before."""
    tasks = {count: n2n_workers.task(1000, 32) for count in (1, 2)}
    with n2n_workers.students_of(tasks[1], 1) as by_one, n2n_workers.students_of(tasks[2], 2) as by_two:
        update = {1: 0, 2: 0}

        def scored(count, students):
            start, update[count] = update[count] * STUDENTS, update[count] + 1
            trails = n2n_workers.trails(tasks[count], STUDENTS, start)
            return measuring.timed(lambda: students.score_all(tasks[count].network, trails, strict=False))

        pairs = measuring.interleaved(lambda: scored(2, by_two), lambda: scored(1, by_one), ROUNDS)
    note = f"{STUDENTS} students of one epoch of 900 images of 32x32; the CPU time is the parent's"
    table.add(measuring.ratio_row("students of an update: two workers / one", pairs, 1 / 1.8, note))


def test_memory_over_many_students(table):
    """The parent's memory after all students against that after a tenth; a worker's largest against its limit."""
    command = [sys.executable, str(HERE / "n2n_workers.py"), str(MANY)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(answer.stdout.splitlines()[-1])
    for name, ours, reference, allowed in (
        (f"memory of the parent after {MANY} students / after {MANY // 10}", seen["last"], seen["first"], 1.10),
        ("largest memory of a worker / its limit", seen["worker"], seen["limit"], 1.0),
    ):
        row = measuring.Row(name, f"{ours:.0f} MiB", f"{reference:.0f} MiB", f"{ours / reference:.3f}", "-", allowed)
        table.add(row)
