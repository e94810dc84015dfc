"""`python -m speechbrain_dynsnet.cli`, where there is no `dynsnet` on the path."""

from speechbrain_dynsnet.cli import main

main()
