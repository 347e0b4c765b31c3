"""The embedded Hub judged by huggingface_hub's own tests, from its source distribution.

The client that runs is the installed one; its source distribution, of the same version, is fetched by pip once
and kept in pytest's cache. Each test of the classes below must pass, or stand in `LEFT_OUT` with a reason.
Needs pip, pytest-mock, and for the first run a package index.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

from publish.localhub import add_user, running

SDIST = "huggingface_hub-2.4.0"
SDIST_SHA256 = "13a6158b9e3393d9d3f248ce99074d50c2a0a1449fb9d8e2f710751e2084c188"
FIXTURES = Path(__file__).parent / "client_suite" / "fixtures.py"

# Tests that are not run, by class and name (less `test_`), each with why.
_PRODUCTION = "reads what is on huggingface.co (marked production upstream)"
LEFT_OUT = {
    "test_hf_api.py::TestHfApiListRepoTree": {
        "list_tree_with_expand": _PRODUCTION,
        "list_files_without_expand": _PRODUCTION,
        "list_tree_with_xethash": _PRODUCTION,
    },
    "test_hf_api.py::TestHfApiBranchEndpoint": {
        "create_branch_forbidden_ref_branch_fails": "skipped upstream: the real Hub's test user may do it",
    },
    "test_hf_api.py::TestHfApiEndpoints": {
        "whoami_with_passing_token": "organisations have no full names here",
        "move_repo_normal_usage": "repositories cannot be moved here",
        "move_repo_target_already_exists": "repositories cannot be moved here",
        "update_repo_settings": "no gated repositories here",
        "update_dataset_repo_settings": "no gated repositories here",
    },
    "test_hf_api.py::TestCollectionAPI": {
        "list_collections": _PRODUCTION,
        "create_collection_exists_ok": "skipped upstream: two may have the same title",
        "collection_items_with_collections": _PRODUCTION,
    },
    "test_hf_api.py::TestCommitApi": {
        "empty_commit_on_pr": "opens a pull request as a discussion; here one begins with its commit",
    },
    "test_snapshot_download.py::TestSnapshotDownload": {
        "xet_file_skips_per_file_head_call": "needs hf_xet and Xet storage",
    },
}

# Tests that pass, by class (less `test_`). All of a class's tests are here or above.
PASSES = {
    "test_hf_api.py::TestHfApiRepoFileExists": """
        repo_exists revision_exists file_exists
    """,
    "test_hf_api.py::TestHfApiEndpoints": """
        whoami_with_implicit_token_from_login whoami_with_implicit_token_from_hf_api
        whoami_with_caching whoami_rate_limit_suggest_caching whoami_with_token_false
        delete_repo_error_message delete_repo_missing_ok move_repo_invalid_repo_id """,
    "test_hf_api.py::TestCommitApi": """
        upload_file_validation commit_operation_validation upload_file_str_path
        upload_file_pathlib_path upload_file_fileobj upload_file_bytesio
        upload_data_files_to_model_repo create_repo_return_value
        create_repo_already_exists_but_no_write_permission
        create_repo_already_exists_but_no_write_permission_returns_correct_repo_id
        create_repo_private_by_default create_repo_with_visibility
        update_repo_settings_with_visibility upload_file_create_pr delete_file
        get_full_repo_name upload_folder upload_folder_create_pr
        upload_folder_git_folder_excluded upload_folder_gitignore_already_exists
        upload_folder_gitignore_in_commit create_commit_create_pr
        create_commit_create_pr_against_branch create_commit_create_pr_on_foreign_repo
        create_commit create_commit_conflict create_commit_repo_does_not_exist
        create_commit_lfs_file_implicit_token create_commit_huge_regular_files
        commit_preflight_on_lots_of_lfs_files create_commit_repo_id_case_insensitive
        create_commit_mutates_operations pre_upload_before_commit
        commit_modelcard_invalid_metadata commit_modelcard_empty_metadata
        create_file_with_relative_path prevent_empty_commit_if_no_op
        prevent_empty_commit_if_no_new_addition prevent_empty_commit_if_no_new_copy
        continue_commit_without_existing_files continue_commit_if_copy_is_identical
        continue_commit_if_only_deletion
    """,
    "test_hf_api.py::TestHfApiUploadEmptyFile": """
        upload_empty_lfs_file
    """,
    "test_hf_api.py::TestHfApiDeleteFolder": """
        create_commit_delete_folder_implicit create_commit_delete_folder_explicit
        create_commit_implicit_delete_folder_is_ok
    """,
    "test_hf_api.py::TestHfApiListRepoTree": """
        list_tree list_tree_recursively list_unknown_tree list_with_empty_path
    """,
    "test_hf_api.py::TestHfApiTagEndpoint": """
        create_tag_on_main create_tag_on_pr create_tag_on_commit_oid invalid_tag_name
        create_tag_on_missing_revision create_tag_twice create_and_delete_tag
        delete_tag_missing_tag delete_tag_with_branch_name
    """,
    "test_hf_api.py::TestHfApiBranchEndpoint": """
        create_and_delete_branch create_branch_existing_branch_fails
        create_branch_existing_tag_does_not_fail delete_branch_on_protected_branch_fails
        delete_branch_on_missing_branch_fails create_branch_from_revision
    """,
    "test_hf_api.py::TestHfApiPrivate": """
        model_info dataset_info list_private_models
    """,
    "test_hf_api.py::TestListGitCommits": """
        list_commits_on_main list_commits_on_pr list_commits_include_formatted
        list_commits_on_missing_repo list_commits_on_missing_revision
    """,
    "test_hf_api.py::TestHfApiVerifyChecksums": """
        verify_repo_checksums_with_local_cache
    """,
    "test_hf_api.py::TestCollectionAPI": """
        create_collection_with_description create_private_collection update_collection
        delete_collection collection_items
    """,
    "test_snapshot_download.py::TestSnapshotDownload": """
        download_model download_private_model download_model_local_only
        download_model_to_local_dir_with_offline_mode
        offline_mode_with_cache_and_empty_local_dir download_model_offline_mode_not_in_local_dir
        download_model_offline_mode_not_cached tree_cache_written_and_incomplete_detected
        download_model_local_only_multiple download_model_with_allow_pattern
        download_model_with_allow_pattern_list download_model_with_ignore_pattern
        download_model_with_ignore_pattern_list download_to_local_dir
    """,
    "test_snapshot_download.py::TestResolveRevision": """
        resolve_revision resolve_revision_for_another_repo resolve_revision_not_cached
        download_with_resolved_revision
    """,
    "test_file_download.py::TestStagingCachedDownloadOnAwfulFilenames": """
        hf_hub_url_on_awful_filepath hf_hub_url_on_awful_subfolder_and_filename
        hf_hub_download_on_awful_filepath hf_hub_download_on_awful_subfolder_and_filename
    """,
}


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the client's tests with our fixtures beside them; return the folder to run them in."""
    assert version("huggingface_hub") == SDIST.partition("-")[2]
    assert request.config.cache
    kept = request.config.cache.mkdir("hub-client-suite")
    archive = kept / f"{SDIST}.tar.gz"
    if not archive.exists():
        # pip builds the metadata of what it downloads, in a folder of its own with the setuptools that needs.
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", kept, SDIST.replace("-", "==")], check=True, timeout=300)
    assert sha256(archive.read_bytes()).hexdigest() == SDIST_SHA256
    folder = tmp_path_factory.mktemp("client-suite")
    with tarfile.open(archive) as tar:
        inside = [member for member in tar.getmembers() if member.name.startswith(f"{SDIST}/tests/")]
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # which Debian 12's Python lacks
        tar.extractall(folder, inside)
    tests = (folder / SDIST / "tests").rename(folder / "tests")
    shutil.copy(FIXTURES, tests / "conftest.py")
    (tests / "__init__.py").touch()
    marks = "api transfer inference xet no_xet production deprecated git_lfs vcr"
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n" + "".join(f"    {m}\n" for m in marks.split()))
    return folder


def _add_users(root: Path) -> None:
    """Seed the users of the tests; names and tokens are those of their testing_constants.py."""
    token = "hf_HubCITokenXXXXXXXXXXXXXXXXXXXXX"
    add_user(root, "__DUMMY_HUB_USER__", token=token, fullname="Dummy User", orgs=("valid_org_hub",))
    add_user(root, "DVUser", token="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")
    add_user(
        root, "EnterpriseAdmin", token="hf_enterprise_admin_token", private_orgs=("EnterpriseOrgPrivate",)
    )


@pytest.mark.slow
def test_the_clients_own_tests(suite: Path, tmp_path: Path) -> None:
    root, report = tmp_path / "hub", tmp_path / "report.xml"
    _add_users(root)
    left_out = [f"--deselect=tests/{at}::test_{name}" for at, names in LEFT_OUT.items() for name in names]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(suite / "pytest.ini"),
    ]
    with running(root) as hub:
        # No token but those that the tests pass, and no other Hub than this one.
        own = {"HF_ENDPOINT": hub.endpoint, "HUGGINGFACE_CO_STAGING": "0", "HF_TOKEN": "", "PYTHONPATH": ""}
        ran = subprocess.run(
            [*command, f"--junitxml={report}", *left_out, *(f"tests/{at}" for at in PASSES)],
            check=False,
            cwd=suite,
            env=os.environ | own | {"HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=600,
        )
    outcomes: dict[str, set[str]] = {"passed": set(), "failure": set(), "error": set(), "skipped": set()}
    for case in ET.parse(report).iter("testcase"):
        module, _, name = str(case.get("classname")).removeprefix("tests.").rpartition(".")
        ends = [child.tag for child in case if child.tag in outcomes] or ["passed"]
        outcomes[ends[0]].add(f"{module}.py::{name}::{case.get('name')}")
    expected = {f"{at}::test_{name}" for at, names in PASSES.items() for name in names.split()}
    assert not outcomes["failure"] | outcomes["error"] | outcomes["skipped"], ran.stdout[-8000:]
    assert outcomes["passed"] == expected
    assert ran.returncode == 0, ran.stdout[-8000:]
