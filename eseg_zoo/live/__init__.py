"""Training that one looks at: it runs beside a program, shows maps while it learns, and takes new labels."""

from eseg_zoo.threads import wait_without_spinning

# Beside other programs, threads that spin while they wait would make it many times slower; torch comes after this.
wait_without_spinning()
