//! A user gets another name: the key stays, and everything that names the user follows.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::World;

fn in_set(set: &mut BTreeSet<String>, old: &str, new: &str) {
    if set.remove(old) {
        set.insert(new.to_owned());
    }
}

fn in_map<T>(map: &mut BTreeMap<String, T>, old: &str, new: &str) {
    if let Some(value) = map.remove(old) {
        map.insert(new.to_owned(), value);
    }
}

fn in_text<'a>(texts: impl IntoIterator<Item = &'a mut String>, old: &str, new: &str) {
    texts.into_iter().filter(|text| **text == old).for_each(|text| new.clone_into(text));
}

/// Renames a user; false if there is none, or the new name is taken.
pub(crate) fn rename(world: &mut World, old: &str, new: &str) -> bool {
    if world.users.contains_key(new) {
        return false;
    }
    let Some(mut user) = world.users.remove(old) else { return false };
    new.clone_into(&mut user.name);
    world.users.insert(new.to_owned(), user);
    world.groups.values_mut().for_each(|members| in_set(members, old, new));
    for project in world.projects.values_mut() {
        in_text([&mut project.lead], old, new);
        project.roles.values_mut().for_each(|role| in_set(&mut role.users, old, new));
    }
    for issue in world.issues.values_mut() {
        in_text(issue.reporter.iter_mut().chain(&mut issue.assignee), old, new);
        in_set(&mut issue.watchers, old, new);
        for comment in &mut issue.comments {
            in_text(comment.author.iter_mut().chain(&mut comment.updater), old, new);
        }
        in_text(issue.worklogs.iter_mut().filter_map(|one| one.author.as_mut()), old, new);
        if let Some(request) = &mut issue.request {
            in_set(&mut request.participants, old, new);
            request.approvals.iter_mut().for_each(|one| in_map(&mut one.approvers, old, new));
        }
    }
    in_text(world.attachments.values_mut().filter_map(|file| file.author.as_mut()), old, new);
    in_text(world.tokens.values_mut().map(|token| &mut token.user), old, new);
    in_text(world.sessions.values_mut(), old, new);
    true
}
