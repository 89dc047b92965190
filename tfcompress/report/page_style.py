"""The look of a page of a run."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light; --ink: #1c2024; --dim: #5b6570; --line: #dfe3e8; --back: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--back); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header, main, footer { max-width: 60rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: .9rem; margin: .75rem 0 .25rem; }
header p, footer, small { color: var(--dim); }
header p { margin: 0 0 .75rem; }
nav { display: flex; flex-wrap: wrap; gap: .35rem; margin-bottom: 1rem; }
nav a { padding: .3rem .7rem; border: 1px solid var(--line); border-radius: 1rem; background: #fff;
  color: inherit; font-size: .85rem; text-decoration: none; }
nav a:hover, nav a:focus { border-color: #4c72b0; }
section { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin-bottom: 1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin-bottom: 1rem; }
.cards div { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; background: var(--back); }
.cards strong, .cards span, .cards small { display: block; }
.cards strong { font-size: 1.5rem; line-height: 1.2; }
.scroll { overflow: auto; max-height: 32rem; }
table { border-collapse: separate; border-spacing: 0; font-size: .85rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--dim); font-weight: 600; position: sticky; top: 0; background: #fff; z-index: 1; }
tbody th { text-align: left; font-weight: 500; position: sticky; left: 0; background: #fff; }
thead th:first-child { text-align: left; left: 0; z-index: 2; }
#layers tr > :nth-child(2), #layers tr > :last-child, #settings td, #settings th { text-align: left; }
#layers td:nth-child(2) { min-width: 8rem; white-space: normal; }
#settings td { white-space: normal; }
figure { margin: 0 0 .75rem; text-align: center; }
img { max-width: 100%; height: auto; }
details { margin: .4rem 0; }
summary { cursor: pointer; font-size: .9rem; padding: .25rem 0; }
ul { margin: 0; padding-left: 1.2rem; }
li { margin-bottom: .4rem; font-size: .9rem; white-space: pre-line; }
pre { overflow-x: auto; background: var(--back); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem;
  font-size: .8rem; line-height: 1.45; overflow-wrap: normal; }
footer { padding-bottom: 2rem; font-size: .8rem; }
@media (max-width: 640px) {
  header, main, footer { padding-left: .6rem; padding-right: .6rem; }
  section { padding: .75rem; }
  th, td { padding: .3rem .45rem; }
  #layers tbody th, #candidates tbody th, #settings tbody th { min-width: 8rem; max-width: 42vw; }
  #layers tbody th, #candidates tbody th, #settings tbody th, #table tbody th { white-space: normal;
    overflow-wrap: anywhere; }
  #layers td:nth-child(2) { min-width: 5rem; }
  #table table { width: 100%; font-size: .78rem; }
  #table th, #table td { padding: .3rem .2rem; }
}
"""
