//! The whole flow in headless Chromium, against the stand-in's login and consent pages on another site.
//!
//! With `OUTHAUL_PICTURES=FOLDER` it leaves a picture of each page there, light and dark.

use std::path::PathBuf;

use super::Site;
use super::driver::{Browser, Driver};

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// Keeps pictures, if they are wanted.
struct Pictures(Option<PathBuf>, &'static str);

impl Pictures {
    async fn take(&self, browser: &Browser<'_>, name: &str) {
        if let Some(folder) = &self.0 {
            browser.picture(&folder.join(format!("{name}-{}.png", self.1))).await;
        }
    }
}

/// What holds for every page: no script, no complaint of the browser, one heading, a language, and words for all.
async fn is_sound(browser: &Browser<'_>) {
    let found = browser
        .look(
            "const all = s => [...document.querySelectorAll(s)];
             return {
               language: document.documentElement.lang,
               title: document.title.length > 0,
               headings: all('h1').length,
               main: all('main').length,
               scripts: all('script').length + all('[style], [onclick]').length,
               unlabelled: all('input:not([type=hidden])').filter(i => i.labels.length === 0).length,
               wide: document.documentElement.scrollWidth > window.innerWidth,
               styled: getComputedStyle(document.querySelector('main')).borderTopWidth === '1px',
               others: performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin)).length,
             }",
        )
        .await;
    let wanted = serde_json::json!({
        "language": "en", "title": true, "headings": 1, "main": 1, "scripts": 0, "unlabelled": 0, "wide": false,
        "styled": true, "others": 0,
    });
    assert_eq!(found, wanted, "{}", browser.url().await);
}

/// How far text stands out from its ground, as WCAG 2.2 counts it (“contrast ratio”); the least of all texts shown.
async fn contrast(browser: &Browser<'_>) -> f64 {
    let least = browser
        .look(
            "const parse = c => c.match(/[\\d.]+/g).map(Number);
             const lum = ([r, g, b]) => { const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
               return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
             const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
               if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
             let least = 99;
             for (const e of document.querySelectorAll('h1,h2,p,dt,dd,code,button,label,a,strong,span,input:not([type=hidden])')) {
               const [a, b] = [lum(parse(getComputedStyle(e).color)), lum(ground(e))];
               least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
             }
             return least",
        )
        .await;
    least.as_f64().unwrap()
}

async fn log_in(browser: &Browser<'_>, name: &str) {
    browser.type_into("#login-form-username", name).await;
    browser.type_into("#login-form-password", &format!("{name}-password")).await;
    browser.click("#login").await;
}

/// One person's way, from the bot and back to it.
async fn link(site: &Site, browser: &Browser<'_>, pictures: &Pictures) {
    let (pages, jira) = (format!("https://localhost:{}", site.pages_port), "http://jira.localhost:");
    browser.open(&site.begin().await).await;
    browser.titled("Link your account – Outhaul").await;
    is_sound(browser).await;
    let shown = browser.text("main").await;
    for part in ["bot", "Alice Example", super::PERSON, "jira.localhost"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let field = browser.role_and_name("#token").await;
    assert_eq!(field.1, "Personal access token of jira");
    assert_eq!(browser.role_and_name("button").await, ("button".to_owned(), "Go on to jira".to_owned()));
    pictures.take(browser, "1-start").await;
    let least = contrast(browser).await;
    assert!(least >= 4.5, "contrast {least}");

    let cookies = browser.cookies().await;
    let cookie = cookies.iter().find(|cookie| cookie["name"] == "__Host-outhaul-link").unwrap();
    assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&true.into(), &true.into()), "{cookie}");
    assert_eq!((&cookie["path"], &cookie["sameSite"]), (&"/".into(), &"Lax".into()), "{cookie}");

    // By keyboard alone: the first stop is the button, and one sees that it is.
    browser.press(TAB).await;
    let focus = browser.look("const s = getComputedStyle(document.activeElement); return [document.activeElement.value, s.outlineStyle]");
    assert_eq!(focus.await, serde_json::json!(["consent", "solid"]));
    browser.press(ENTER).await;

    browser.arrive(jira).await;
    if browser.title().await.starts_with("Log in") {
        log_in(browser, "alice").await;
    }
    browser.arrive(&format!("{jira}{}/plugins/servlet/oauth2/consent", port_of(&browser.url().await))).await;
    browser.click("#allow").await;

    browser.arrive(&format!("{pages}/link/a/")).await;
    assert!(!browser.url().await.contains("code"), "the code is not left in the address line");
    browser.titled("Link these two accounts? – Outhaul").await;
    is_sound(browser).await;
    let shown = browser.text("main").await;
    for part in ["alice", "Alice Example", super::PERSON] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    pictures.take(browser, "2-confirm").await;
    assert!(contrast(browser).await >= 4.5);
    browser.click("button[value=yes]").await;

    browser.titled("One step is left – Outhaul").await;
    is_sound(browser).await;
    pictures.take(browser, "3-code").await;
    assert!(contrast(browser).await >= 4.5);
    let code = browser.text(".code [aria-hidden]").await;
    let finished = site.finish(&code.to_lowercase()).await;
    assert_eq!(finished.status, 200, "{finished:?}");
    assert_eq!(site.whoami().await.unwrap(), "alice");

    // The way back through the history leads nowhere.
    browser.open(&browser.url().await).await;
    browser.titled("This link is finished – Outhaul").await;
    is_sound(browser).await;
    pictures.take(browser, "4-finished").await;
    // A page that has ended is a 410, and browsers ask for a picture that is not there; nothing else is complained of.
    let complaints = browser.complaints().await;
    let ours = complaints.iter().filter(|line| line.starts_with(&pages));
    let other: Vec<_> =
        ours.filter(|line| !line.contains("status of 410") && !line.contains("favicon")).collect();
    assert!(other.is_empty(), "{other:?}");
}

fn port_of(url: &str) -> String {
    url.split(':').nth(2).unwrap().chars().take_while(char::is_ascii_digit).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn chromium_goes_the_whole_way() {
    let driver = Driver::start().expect("chromedriver is not here: install Debian's chromium-driver");
    let site = Site::start().await;
    let profiles = tempfile::tempdir().unwrap();
    let wanted = std::env::var_os("OUTHAUL_PICTURES").map(PathBuf::from);
    let light = driver.browser(&profiles.path().join("light"), &[]).await;
    let dark = ["--blink-settings=preferredColorScheme=0", "--force-dark-mode", "--window-size=420,900"];
    let dark = driver.browser(&profiles.path().join("dark"), &dark).await;
    link(&site, &light, &Pictures(wanted.clone(), "light")).await;
    link(&site, &dark, &Pictures(wanted.clone(), "dark-narrow")).await;
    others(&site, &light, &dark, &Pictures(wanted, "light")).await;
    drop(profiles);
}

/// What goes wrong on the way.
async fn others(site: &Site, browser: &Browser<'_>, other: &Browser<'_>, pictures: &Pictures) {
    let pages = format!("https://localhost:{}", site.pages_port);

    // Denied, and then a token instead.
    let url = site.begin().await;
    browser.open(&url).await;
    browser.click("button[value=consent]").await;
    browser.arrive("http://jira.localhost:").await;
    browser.click("#deny").await;
    browser.arrive(&pages).await;
    browser.titled("You did not allow it – Outhaul").await;
    is_sound(browser).await;
    pictures.take(browser, "5-denied").await;
    browser.click("a.button").await;
    browser.type_into("#token", "pat-bob").await;
    browser.click("button[value=paste]").await;
    // The page before has such an address too.
    browser.titled("Link these two accounts? – Outhaul").await;
    assert!(browser.text("main").await.contains("bob"));

    // Another browser gets in neither by the address of the link nor by that of the attempt.
    for url in [url, browser.url().await] {
        other.open(&url).await;
        other.titled("This link belongs to another browser – Outhaul").await;
    }
    pictures.take(other, "6-other-browser").await;
    is_sound(other).await;
    browser.click("button[value=no]").await;
    browser.titled("The link is cancelled – Outhaul").await;

    // The victim of a consent that another person began.
    let url = site.begin().await;
    browser.open(&url).await;
    browser.click("button[value=consent]").await;
    browser.arrive("http://jira.localhost:").await;
    other.open(&browser.url().await).await;
    if other.title().await.starts_with("Log in") {
        log_in(other, "carol").await;
    }
    other.click("#allow").await;
    other.arrive(&pages).await;
    other.titled("This link belongs to another browser – Outhaul").await;
    browser.open(&url).await;
    browser.titled("The link was stopped – Outhaul").await;

    // A site that shows the page in a frame, or sends its form.
    let url = site.begin().await;
    let frame = format!("data:text/html,<iframe src='{url}' width=800 height=800></iframe>");
    other.open(&frame).await;
    let seen = other.look("return document.querySelector('iframe').contentDocument === null").await;
    assert_eq!(seen, serde_json::json!(true));
    other.open(&format!(
        "data:text/html,<form method=post action='{url}'><input name=step value=consent><button>go</button></form>"
    ))
    .await;
    other.click("button").await;
    other.arrive(&pages).await;
    other.titled("This form can't be taken – Outhaul").await;
}
