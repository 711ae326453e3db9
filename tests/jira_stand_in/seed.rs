//! What is there at the start: five people, a service account, four groups, three projects, a few issues.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use crate::app::stamp;
use crate::world::{Comment, Holder, Issue, Project, Right, Role, Token, User, Visibility, World};

/// Users and their groups. A password is the name and `-password`, for Basic, sessions and the login page.
const USERS: &[(&str, &str, &[&str])] = &[
    ("admin", "Ada Admin", &["jira-administrators", "jira-software-users"]),
    ("alice", "Alice Archer", &["jira-software-users", "demo-developers"]),
    ("bob", "Bob Baker", &["jira-software-users", "demo-developers"]),
    ("carol", "Carol Carter", &["jira-software-users"]),
    ("mallory", "Mallory Outside", &["outsiders"]),
    ("svc-outhaul", "Outhaul Service", &["jira-software-users", "demo-developers"]),
];

/// The world at the start.
pub(crate) fn world(now: u64, pats: &[String]) -> World {
    let mut world = World::default();
    for (index, (name, display, groups)) in USERS.iter().enumerate() {
        // Old users have their name as key, newer ones a number.
        let key = if index < 2 { (*name).to_owned() } else { format!("JIRAUSER{}", 10_100 + index) };
        let user = User {
            key,
            name: (*name).to_owned(),
            display: (*display).to_owned(),
            email: format!("{name}@corp.invalid"),
            active: true,
            password: format!("{name}-password"),
            failed_logins: 0,
        };
        world.users.insert((*name).to_owned(), user);
        for group in *groups {
            world.groups.entry((*group).to_owned()).or_default().insert((*name).to_owned());
        }
        add_token(&mut world, name, &random_token(), now);
    }
    for (name, token) in pats.iter().filter_map(|text| text.split_once('=')) {
        add_token(&mut world, name, token, now);
    }
    project(&mut world, 10_001, "DEMO", "Demonstration", Holder::Role("Users"));
    project(&mut world, 10_002, "OPEN", "Open to everybody", Holder::Anyone);
    project(&mut world, 10_003, "SECRET", "Administrators only", Holder::Role("Administrators"));
    // Agents see its issues; customers see their own requests, by the service desk's interface alone.
    project(&mut world, 10_004, "HELP", "Help desk", Holder::Role("Developers"));
    if let Some(project) = world.projects.get_mut("HELP") {
        project.kind = "service_desk";
    }
    for (key, summary) in [
        ("DEMO", "The coffee machine on floor 3 leaks"),
        ("DEMO", "Order new chairs for the meeting room"),
        ("OPEN", "Publish the opening hours"),
        ("SECRET", "Salaries for next year"),
    ] {
        issue(&mut world, key, summary, now);
    }
    world
}

fn project(world: &mut World, id: u64, key: &str, name: &str, browse: Holder) {
    let mut roles = BTreeMap::new();
    for (index, (role, group)) in [
        ("Administrators", "jira-administrators"),
        ("Developers", "demo-developers"),
        ("Users", "jira-software-users"),
    ]
    .into_iter()
    .enumerate()
    {
        let groups = BTreeSet::from([group.to_owned()]);
        roles.insert(role, Role { id: 10_100 + index as u64, users: BTreeSet::new(), groups });
    }
    let member = if browse == Holder::Anyone { Holder::Role("Users") } else { browse };
    let developer = if key == "SECRET" { member } else { Holder::Role("Developers") };
    let scheme = vec![
        (Right::Browse, browse),
        (Right::Create, member),
        (Right::Comment, member),
        (Right::Attach, member),
        (Right::Edit, developer),
        (Right::Assign, developer),
        (Right::Transition, developer),
        (Right::Work, developer),
        (Right::ManageWatchers, developer),
        (Right::Delete, developer),
        (Right::Administer, Holder::Role("Administrators")),
    ];
    let project = Project {
        id,
        key: key.to_owned(),
        name: name.to_owned(),
        lead: "admin".to_owned(),
        kind: "software",
        roles,
        scheme,
        last_number: 0,
    };
    world.projects.insert(key.to_owned(), project);
}

fn issue(world: &mut World, project: &str, summary: &str, now: u64) {
    let (id, comment) = (world.fresh_id(), world.fresh_id());
    let number = {
        let project = world.projects.get_mut(project).expect("seeded above");
        project.last_number += 1;
        project.last_number
    };
    let when = stamp(now * 1000);
    let body = "Seen by many this morning.".to_owned();
    let issue = Issue {
        id,
        key: format!("{project}-{number}"),
        project: project.to_owned(),
        kind: "10002",
        status: "10000",
        summary: summary.to_owned(),
        description: Some("Please take care of it.".to_owned()),
        reporter: Some("admin".to_owned()),
        assignee: None,
        labels: vec!["seed".to_owned()],
        priority: "3".to_owned(),
        extra: serde_json::Map::new(),
        comments: vec![Comment {
            id: comment,
            author: Some("admin".to_owned()),
            updater: Some("admin".to_owned()),
            body,
            visibility: Visibility::All,
            created: when.clone(),
            updated: when.clone(),
        }],
        worklogs: Vec::new(),
        watchers: BTreeSet::from(["admin".to_owned()]),
        attachments: Vec::new(),
        links: Vec::new(),
        properties: BTreeMap::new(),
        remaining_seconds: 0,
        request: None,
        created: when.clone(),
        updated: when,
    };
    world.issues.insert(id, issue);
}

/// A token in the form of the real ones: base64 of 33 bytes.
pub(crate) fn random_token() -> String {
    let mut bytes = [0_u8; 33];
    rand::fill(&mut bytes[..]);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Gives a user a token that holds for ninety days.
pub(crate) fn add_token(world: &mut World, user: &str, secret: &str, now: u64) -> u64 {
    let id = world.fresh_id();
    let expires_at = now + 90 * 86_400;
    let token = Token {
        id,
        user: user.to_owned(),
        name: "seed".to_owned(),
        secret: secret.to_owned(),
        created: stamp(now * 1000),
        expires: stamp(expires_at * 1000),
        expires_at,
        last_used: None,
    };
    world.tokens.insert(id, token);
    id
}
