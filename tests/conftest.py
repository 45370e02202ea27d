"""What every test can use: the fixtures of tests/support."""

pytest_plugins = ["tests.support.postgres", "tests.support.vllm_environment"]
