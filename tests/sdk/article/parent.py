"""A script that submits children and waits for them."""

from azureml.core import Run, RunConfiguration, ScriptRunConfig

run_config_for_aml_compute = RunConfiguration()
run_config_for_aml_compute.target = "gpu-compute"
run_config_for_aml_compute.environment.docker.enabled = True

run = Run.get_context()

child_args = ["Apple", "Banana", "Orange"]
for arg in child_args:
    run.log("Status", f"Launching {arg}")
    child_config = ScriptRunConfig(
        source_directory=".",
        script="child.py",
        arguments=["--fruit", arg],
        run_config=run_config_for_aml_compute,
    )
    run.submit_child(child_config)

for child in run.get_children():
    child.wait_for_completion()
