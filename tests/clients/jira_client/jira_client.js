// An independent client, npm `jira-client`, through relay and agent: its everyday calls, each compared with Jira's own
// state.
//
// usage: node --require ./watched.js jira_client.js DEMO.JSON    (the file that `DEMO_JSON=… make demo` writes)
// With OUTHAUL_TEST_WAY=pass-through the base URLs are those whose TLS ends at the agent.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { demo, seen } = require('./watched.js');
// From where tests/run installs it.
const JiraApi = require(require.resolve('jira-client', { paths: [process.env.NODE_LIBRARIES || __dirname] }));

let done = 0;
function check(what, holds, found) {
  if (!holds) {
    console.log(`FAILED: ${what}: ${JSON.stringify(found)}`);
    process.exit(1);
  }
  done += 1;
  console.log(`  ok  ${what}`);
}

const control = async (path) => (await fetch(demo.jira_control_url + path)).json();
const state = async (key) => (await control('/state')).issues[key];

// What the library throws is the answer's body, as JSON in an error's message; it tells no status. Ours say their own.
async function refused(what, call, wanted) {
  let answer;
  try {
    answer = { done: await call() };
  } catch (error) {
    answer = JSON.parse(error.message);
  }
  check(what, wanted(answer), answer);
}
const problem = (status, code) => (answer) => answer.status === status && answer.type === `urn:outhaul:problem:${code}`;
const jiras = (text) => (answer) => answer.errorMessages && answer.errorMessages[0].includes(text);

function connect(base, key) {
  const url = new URL(base);
  return new JiraApi({
    protocol: 'https', host: url.hostname, port: url.port, base: url.pathname.slice(1), apiVersion: '2',
    bearer: key || demo.caller_key, strictSSL: true, ca: fs.readFileSync(demo.ca_file), timeout: 60000,
  });
}

async function wholeRun(form, url) {
  console.log(`${form}: ${url}`);
  const jira = connect(url);
  check('server', (await jira.getServerInfo()).version === '10.3.24');
  check('every call is made as the service account', (await jira.getCurrentUser()).name === 'svc-outhaul');
  check('projects', (await jira.listProjects()).some((one) => one.key === 'DEMO'));
  check('one project', (await jira.getProject('DEMO')).name === 'Demonstration');
  check('fields', (await jira.listFields()).some((one) => one.id === 'summary'));

  const made = await jira.addNewIssue({ fields: {
    project: { key: 'DEMO' }, issuetype: { name: 'Task' }, summary: 'Made through the tunnel', description: 'äöü € 😀',
  } });
  const { key } = made;
  check('create', (await state(key)).summary === 'Made through the tunnel');
  check('text survives', (await state(key)).description === 'äöü € 😀', await state(key));
  check('links lead back through the tunnel', made.self.startsWith(`${url}/`), made.self);
  const read = await jira.findIssue(key, '', 'summary,status');
  check('read', read.fields.summary === 'Made through the tunnel', read);

  await jira.updateIssue(key, { fields: { summary: 'Changed', labels: ['a'] }, update: { comment: [{ add: { body: 'why' } }] } });
  const changed = await state(key);
  check('update', changed.summary === 'Changed' && changed.labels[0] === 'a', changed);
  check('its comment', changed.comments[0].body === 'why', changed.comments);

  const comment = await jira.addCommentAdvanced(key, { body: 'For developers', visibility: { type: 'role', value: 'Developers' } });
  check('comment', (await state(key)).comments[1].visibility.value === 'Developers', comment);
  await jira.updateComment(key, comment.id, 'Edited');
  check('edit the comment', (await state(key)).comments[1].body === 'Edited');
  check('comments', (await jira.getComments(key)).total === 2);
  check('one comment', (await jira.getComment(key, comment.id)).body === 'Edited');
  await jira.deleteComment(key, comment.id);
  check('delete the comment', (await state(key)).comments.length === 1);

  const { transitions } = await jira.listTransitions(key);
  await jira.transitionIssue(key, { transition: { id: transitions.find((one) => one.name === 'Done').id } });
  check('transition', (await state(key)).status === 'Done');

  await jira.updateAssignee(key, 'bob');
  check('assign', (await state(key)).assignee === 'bob');
  await jira.addWatcher(key, 'carol');
  check('watch', (await state(key)).watchers.includes('carol'), (await state(key)).watchers);
  check('watchers', (await jira.getIssueWatchers(key)).watchCount === 2);

  await jira.addWorklog(key, { timeSpent: '1h 30m', comment: 'Tightened the tap' });
  const [worklog] = (await state(key)).worklogs;
  check('worklog', worklog.timeSpentSeconds === 5400 && worklog.comment === 'Tightened the tap', worklog);
  check('worklogs', (await jira.getIssueWorklogs(key)).total === 1);

  // Sent as it is read, in pieces.
  const data = crypto.randomBytes(2000000);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'outhaul-'));
  const file = path.join(folder, 'two megabytes.bin');
  fs.writeFileSync(file, data);
  const [attached] = await jira.addAttachmentOnIssue(key, fs.createReadStream(file));
  fs.rmSync(folder, { recursive: true });
  const stored = (await state(key)).attachments[0];
  const sum = crypto.createHash('sha256').update(data).digest('hex');
  check('attach', stored.filename === 'two megabytes.bin' && stored.sha256 === sum, stored);
  check('fetch', data.equals(await jira.downloadAttachment(attached)));
  await jira.deleteAttachment(attached.id);
  check('delete the attachment', (await state(key)).attachments.length === 0);

  await jira.createRemoteLink(key, { globalId: 'ci=1', object: { url: 'https://ci.invalid/1', title: 'Build 1' } });
  check('remote link', (await jira.getRemoteLinks(key))[0].object.title === 'Build 1');

  const query = `project = DEMO AND assignee = bob AND summary ~ "Changed" AND key = ${key} ORDER BY key DESC`;
  const found = await jira.searchJira(query, { maxResults: 5, fields: ['summary', 'status'] });
  check('search', found.issues.length === 1 && found.issues[0].key === key, found);
  check('search by GET', (await jira.getUsersIssues('bob')).issues.length >= 0);
  check('people', (await jira.searchUsers({ username: 'alice' })).some((one) => one.name === 'alice'));
  await refused('Jira\'s own refusal passes unchanged', () => jira.searchJira('nonsense = 1'), jiras('nonsense'));
  await refused('hidden issues stay hidden', () => jira.findIssue('SECRET-1'), jiras('Issue Does Not Exist'));
  await jira.deleteIssue(key);
  check('delete', (await state(key)) === undefined);
  await refused('a call that no rule allows', () => jira.createUser({ name: 'x' }), problem(403, 'policy-refused'));
  await refused('a caller nobody knows', () => connect(url, 'ohk_nobody0000000_x').listProjects(), problem(401, 'caller-unknown'));
}

async function main() {
  if (process.env.OUTHAUL_TEST_WAY === 'pass-through') {
    await wholeRun('passed, operator\'s name', demo.pass_through_base_url);
    await wholeRun('passed, customer\'s name', demo.customer_base_url);
  } else {
    await wholeRun('host form', demo.base_url);
    await wholeRun('path form', demo.path_base_url);
  }
  const agents = (await control('/requests')).map((one) => new Map(one.headers).get('user-agent') || '');
  check('Jira has seen nobody but the agent', agents.every((one) => one.startsWith('outhaul-agent/')), agents);
  check('no connection elsewhere', seen.elsewhere.length === 0, seen.elsewhere);
  await new Promise((over) => { net.connect({ host: '127.0.0.1', port: 9 }).on('error', over).on('connect', over); });
  await fetch('http://jira.corp.invalid/').catch(() => {});
  check('one elsewhere would have been seen', seen.elsewhere.length >= 2, seen.elsewhere);
  console.log(`${done} checks; ${seen.relay} connections to the relay, 0 elsewhere (${seen.control} to the control port)`);
  process.exit(0);
}

main().catch((error) => {
  console.log(`FAILED: ${String(error.stack || error).slice(0, 2000)}`);
  process.exit(1);
});
