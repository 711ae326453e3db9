use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn changed(changes: &mut Changes) -> bool {
    tokio::time::timeout(PATIENCE, changes.next()).await.is_ok_and(|change| change.is_some())
}

async fn quiet(changes: &mut Changes) -> bool {
    tokio::time::timeout(Duration::from_millis(500), changes.next()).await.is_err()
}

#[tokio::test]
async fn writing_renaming_and_removing_are_seen_and_touching_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    let tasks = Tasks::new();
    // The poll is too rare to help: only the watch can tell.
    let mut changes = watch_files(vec![file.clone()], Duration::from_secs(600), &tasks);
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::write(&file, "one").unwrap();
    assert!(changed(&mut changes).await, "created");
    std::fs::write(&file, "one").unwrap();
    std::fs::write(folder.path().join("other"), "x").unwrap();
    assert!(quiet(&mut changes).await, "same content, or another file");
    std::fs::write(folder.path().join("b"), "two").unwrap();
    std::fs::rename(folder.path().join("b"), &file).unwrap();
    assert!(changed(&mut changes).await, "replaced");
    std::fs::remove_file(&file).unwrap();
    assert!(changed(&mut changes).await, "removed");
    changes.poke().now();
    assert!(changed(&mut changes).await, "asked for");
    tasks.cancel();
    assert_eq!(changes.next().await, None);
    assert!(tasks.drain(PATIENCE).await);
}

#[tokio::test]
async fn a_link_that_is_swapped_elsewhere_is_seen_by_the_poll() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, content) in [("v1", "one"), ("v2", "two")] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("file"), content).unwrap();
    }
    std::os::unix::fs::symlink(at("v1"), at("current")).unwrap();
    std::fs::create_dir(at("etc")).unwrap();
    std::os::unix::fs::symlink(at("current").join("file"), at("etc").join("file")).unwrap();
    let tasks = Tasks::new();
    let mut changes = watch_files(vec![at("etc").join("file")], Duration::from_millis(100), &tasks);
    assert!(quiet(&mut changes).await);
    std::os::unix::fs::symlink(at("v2"), at("next")).unwrap();
    std::fs::rename(at("next"), at("current")).unwrap();
    assert!(changed(&mut changes).await);
    tasks.cancel();
}
