"""`python -m router`: one router, settings from the environment."""

from router.main import main

if __name__ == "__main__":
    raise SystemExit(main())
