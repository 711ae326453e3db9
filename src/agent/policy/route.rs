//! Which application a path names, and what of the path is the application's own.

/// A path, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split<'p, T> {
    /// Whose it is.
    pub to: T,
    /// What led there: `/jira`, or a context path.
    pub mount: &'p str,
    /// The rest, from its slash.
    pub rest: &'p str,
}

/// Splits a path: by an application's name, or by its context path, the longest first. `contexts` are those that may
/// lead anywhere: in host form all, in path form none.
pub fn split<'p, 'c, T>(
    path: &'p str,
    named: impl FnOnce(&str) -> Option<T>,
    contexts: impl Iterator<Item = (T, &'c str)>,
) -> Option<Split<'p, T>> {
    let after = path.strip_prefix('/')?;
    let name = after.split('/').next().unwrap_or("");
    let found = named(name).map(|to| (to, name.len() + 1));
    let (to, length) = found.or_else(|| {
        let fits = |(to, context): (T, &str)| {
            let rest = path.strip_prefix(context)?;
            let whole = !context.is_empty() && (rest.is_empty() || rest.starts_with('/'));
            whole.then_some((to, context.len()))
        };
        let fitting: Vec<_> = contexts.filter_map(fits).collect();
        let longest = fitting.iter().map(|(_, length)| *length).max()?;
        let mut fitting = fitting.into_iter().filter(|(_, length)| *length == longest);
        // Two applications under one context path: only their names tell them apart.
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    })?;
    let (mount, rest) = path.split_at_checked(length)?;
    Some(Split { to, mount, rest: if rest.is_empty() { "/" } else { rest } })
}
