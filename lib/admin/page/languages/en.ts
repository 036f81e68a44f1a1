import type { RuleName } from '../../../../types/detector.d.ts';

/** An amount with its unit. */
const many = (amount: string, unit: string): string => `${amount} ${unit}${amount === '1' ? '' : 's'}`;

/** The texts of the page in English; the other languages have the same. */
const en = {
  loading: 'Loading …', again: 'Try again', unreachable: 'The gate does not answer. The page goes on by itself once it does.', tryAgainIn: (time: string): string => `Try again in ${time}.`,
  readOnly: 'Read only: this login changes nothing.', close: 'Close', cancel: 'Cancel', copy: 'Copy', copied: 'Copied.', notCopied: 'This browser lets the page copy only over HTTPS or on localhost. Select the text instead.',
  more: 'Show more', searchOn: 'Search on', stopped: 'The search ran out of time before it had read everything.', yes: 'yes', no: 'no', noRecords: 'The records cannot be read at the moment. This page shows what this instance has by itself.',
  skip: 'Skip to the content', navigation: 'Panels', preferences: 'Language, time', language: 'Language', timeZone: 'Time zone', thisBrowser: (zone: string): string => `This browser (${zone})`,
  logIn: 'Log in', logOut: 'Log out', adminToken: 'Admin token', accessToken: 'Access token', newapiUser: 'User id in NewAPI',
  loginToken: 'The token stands in the configuration as admin.token, or admin.read_token to look only.', loginNewapi: 'Log in to NewAPI in this browser as an administrator, or give an access token of one.', wrongToken: 'This is not the token.', loginEnded: 'The login has ended.',
  newapiStays: 'You are still logged in to NewAPI in this browser, which opens this page again. To end that, log out there.',
  newVersion: 'A part of the page could not be loaded: the gate does not answer, or has a new version.', reload: 'Load the page again',
  commandLine: 'Command line:', copyLine: 'Copy the command line', connected: 'Events arrive', notConnected: 'No events arrive at the moment',
  ends: { '15m': '15 minutes', '1h': '1 hour', '4h': '4 hours', '24h': '24 hours', '7d': '7 days', '30d': '30 days', '': 'no end' },

  overview: {
    title: 'Overview', status: { healthy: 'healthy', degraded: 'degraded', unavailable: 'unavailable', draining: 'shutting down' }, nothingWrong: 'Nothing is wrong.',
    toLookAt: (problems: number, findings: number): string => [problems > 0 ? `${problems} ${problems === 1 ? 'problem' : 'problems'}` : '', findings > 0 ? `${findings} open ${findings === 1 ? 'finding' : 'findings'}` : ''].filter(Boolean).join(' and ') || 'Something needs a look.',
    problem: { target_down: 'Target down', breaker_open: 'Breaker open', journal: 'Journal', sink: 'Sink', redis: 'Redis', resource: 'Resource short', registry: 'Keys and bans unreadable', records: 'Records unreadable', certificate: 'Certificate', draining: 'Shutting down' },
    observes: 'The gate observes only: it refuses nothing, and records what it would have refused.', thisInstance: 'Numbers of this instance alone.', allInstances: 'Numbers of all instances, from PostgreSQL. Targets, queue and live rows are those of this one.',
    requests: 'Requests', errors: 'Errors', refused: 'Refused', overhead: 'Latency added', spend: 'Spend today', open: 'Open findings', inHand: 'In hand now', waiting: (waiting: string): string => `${waiting} waiting`, thisMonth: (sum: string): string => `${sum} this month`,
    onLastWeek: (change: string): string => `${change} on last week`, asLastWeek: 'as last week', noneLastWeek: 'none last week', latest: 'Latest findings', nothingFound: 'The watch has found nothing.',
    course: 'Over time', range: 'Range', ranges: { '1h': 'Last hour', '24h': '24 hours', '7d': '7 days', '30d': '30 days' }, per: { minute: 'a minute', hour: 'an hour', day: 'a day' },
    all: 'All', latency: 'Latency', toFirstByte: 'To the first byte', added: 'Added by the gate', dollars: 'Dollars', cost: 'Spend',
  },

  findings: {
    title: 'Findings', hereAlone: 'What is done about a finding holds on this instance alone: without Redis there is nothing to share it over.', elsewhere: 'Found by another instance, where it can be acted on:', none: 'No findings.', everyState: 'Every state', everyRule: 'Every rule', rule: 'Finding', caller: 'Caller', score: 'Score', since: 'Since', state: 'State', does: 'What to do', until: 'until', would: (action: string): string => `would ${action}`,
    states: { open: 'open', acknowledged: 'seen', undone: 'undone', false_positive: 'false positive', over: 'over' }, actions: { none: 'nothing', flag: 'flag', slow: 'slow', limit: 'limit', freeze: 'freeze' },
    rules: {
      shared_key: 'Shared key', stolen_key: 'Stolen key', spend_velocity: 'Sudden spend', request_rate: 'Sudden rate', credential_stuffing: 'Guessed keys', key_spraying: 'Many keys tried', failure_burst: 'Burst of failures',
      content_repetition: 'Repeated content', scanning: 'Scanning', impossible_travel: 'Impossible travel', client_forgery: 'Forged client', leaked_key: 'Leaked key', honey_key: 'Honey key',
    } satisfies Record<RuleName, string>,
    undo: 'Undo', act: 'Act …', falsePositive: 'False positive', ban: 'Ban …', acknowledge: 'Mark as seen', evidence: 'Evidence', because: 'because of', seen: 'Evidence',
    counts: (requests: string, devices: string, networks: string, sessions: string): string => `${many(requests, 'request')}, ${many(devices, 'device')}, ${many(networks, 'network')}, ${many(sessions, 'session')}`,
    baseline: 'Usual', baselines: {
      devices_at_once: 'devices at once', devices_a_day: 'devices a day', networks_a_day: 'networks a day', sessions_at_once: 'sessions at once', spend_an_hour: 'dollars an hour', two_minutes: 'in two minutes', an_hour: 'an hour',
      paths: 'paths', tokens: 'keys', failures: 'failures', requests: 'requests', returns: 'returns', strangers: 'unknown keys', callers: 'callers', times: 'times',
    }, note: 'Note', rests: 'Rests until', action: 'What is done', end: 'End', reason: 'Reason', reasonHint: 'Operators alone see it.', isDone: (what: string): string => `Done: ${what}.`,
    doing: {
      undo: { title: 'Undo the action', hint: 'The caller is served as before, on every instance within two seconds, and the same pattern raises nothing for 30 days.', button: 'Undo' },
      act: { title: 'Act on the finding', hint: 'The action ends by itself. It can be undone at any time.', button: 'Act' },
      'false-positive': { title: 'Mark as a false positive', hint: 'Any action ends, and the same pattern of this caller raises nothing for 30 days.', button: 'False positive' },
      acknowledge: { title: 'Mark as seen', hint: 'It stays in the list and is no longer open.', button: 'Mark as seen' },
      ban: { title: 'Ban the caller', hint: 'Its requests are refused from now on, and those that run are ended.', button: 'Ban' },
    },
  },

  callers: {
    title: 'Callers', caller: 'Caller', all: 'All callers', find: 'Name, identity or network', none: 'Nobody has called yet.', nothing: 'None.', kinds: { key: 'key', token: 'token', network: 'network', content: 'content' },
    identity: 'Identity', newapi: 'In NewAPI', requests: 'Requests', tokens: 'Tokens in / out', spend: 'Spend', spendNow: 'Spend in the limits', dayAndMonth: (day: string, month: string): string => `${day} today, ${month} this month`,
    since: 'From – to', last: 'Last', timeline: 'The week by hours', thisWeek: (sum: string, most: string): string => `${many(sum, 'request')}, at most ${most} an hour`,
    limits: 'Limits', rule: 'Rule', limit: 'Limit', remaining: 'Left', models: 'Models', networks: 'Addresses', clients: 'Programs', devices: 'Devices', sessions: 'Sessions', homes: 'Homes',
  },

  requests: {
    title: 'Requests', search: 'Search', clear: 'Clear', export: 'Export …', live: 'Live', further: 'More filters', any: 'any', grepHint: 'text in bodies', order: 'Order', newest: 'newest first', oldest: 'oldest first', own: "The gate's own", ownLeftOut: 'left out', ownShown: "with the gate's own", without: 'take the filter away',
    none: 'No requests match.', time: 'Time', status: 'Status', outcome: 'Outcome', took: 'Took', caller: 'Caller', address: 'Address', model: 'Model', target: 'Target', tokens: 'Tokens', cost: 'Cost', path: 'Path',
    outcomes: { served: 'served', refused: 'refused', failed: 'any error', upstream_error: 'upstream error', aborted: 'aborted', interrupted: 'interrupted' },
    filters: {
      from: 'From', to: 'To', key: 'Key or token', username: 'User name', token_name: 'Token name', address: 'Address or network', model: 'Model', status: 'Status', outcome: 'Outcome', target: 'Target', grep: 'Text in bodies', client: 'Program', route: 'Route',
      device: 'Device fingerprint', session: 'Session', device_id: 'Named device', session_id: 'Named session', home_id: 'Named home', content: 'Content', user: 'User number', source: 'Source', request_id: 'Request id', upstream_request_id: "NewAPI's request id",
    },
    listening: 'Listening', rate: (requests: string, shown: string, inHand: string, waiting: string): string => `${many(requests, 'request')} in the last second, ${shown} of them shown · ${inHand} in hand, ${waiting} waiting`,
    notLive: (names: string): string => `The live view does not filter by: ${names}.`, waitingForRequests: 'Requests appear here as they end.',
  },

  record: {
    title: 'Request', outcome: 'Outcome', caller: 'Caller', request: 'Request', times: 'Times', usage: 'Usage', status: 'Status', ended: 'Ended', target: 'Target', attempts: 'Attempts', upstreamId: "NewAPI's id", username: 'In NewAPI', address: 'Address', chain: 'Forwarded for',
    client: 'Program', userAgent: 'User agent', device: 'Device fingerprint', session: 'Session', deviceId: 'Named device', sessionId: 'Named session', homeId: 'Named home', ja4: 'JA4', path: 'Path', query: 'Query', route: 'Route', model: 'Model', stream: 'Streamed',
    content: 'Content', source: 'Source', arrived: 'Arrived', took: 'Took', queued: 'Waited for a slot', firstByte: 'To the first byte', added: 'Added by the gate', tokens: 'Tokens in / out', cost: 'Cost (estimate)', charged: 'Charged by NewAPI', bytes: 'Bytes in / out',
    reserved: 'Tokens reserved / settled / released', wouldRefuse: 'Would have been refused by', learnt: 'Learnt later', headers: 'Headers', cookies: 'Cookies (hashes)', body: 'Body', answer: 'Answer',
  },

  keys: {
    title: 'Keys', create: 'New key', none: 'There are no keys.', notAccepted: 'These keys open nothing: auth.mode is passthrough, so NewAPI alone checks credentials. They are accepted once auth.mode is keys or jwt.', lastKnown: 'Keys and bans cannot be read at the moment. This is what was known last, and it stays in effect.', name: 'Name', nameHint: 'Unique; records carry it.', state: 'State', states: { active: 'active', disabled: 'disabled', expired: 'expired', rotating: 'old key still valid' },
    limits: 'Limits', models: 'Models', cidrs: 'Addresses', expires: 'Expires', digest: 'Digest', does: 'What to do', configured: 'from the configuration', every: 'all', never: 'never', unlimited: 'none of its own',
    perWindow: (limit: string, window: string): string => `${many(limit, 'request')} / ${window}`, tokensPerWindow: (limit: string, window: string): string => `${many(limit, 'token')} / ${window}`, atOnce: (limit: string): string => `${limit} at a time`, aDay: (sum: string): string => `${sum} a day`, aMonth: (sum: string): string => `${sum} a month`,
    doing: {
      create: { title: 'New key', hint: 'Empty fields mean no restriction.', button: 'Create the key' }, edit: { title: 'Change', hint: 'An empty field takes the limit away.', button: 'Change' },
      rotate: { title: 'Rotate', hint: 'A new key takes the place of the old one.', button: 'Rotate' }, disable: { title: 'Disable', hint: 'The key is refused and its running requests are ended. It can be enabled again.', button: 'Disable' },
      enable: { title: 'Enable', hint: 'The key is accepted again.', button: 'Enable' }, revoke: { title: 'Revoke', hint: 'The key is deleted for good and its running requests are ended.', button: 'Revoke' },
    },
    expiresHint: 'A date, or a duration such as 30d. Empty: never.', listHint: 'Separated by commas. Empty: all.', requests: 'Requests', tokens: 'Tokens', windowHint: 'Number / window, such as 60/1m.', concurrency: 'Requests at a time', budgetDay: 'Dollars a day', budgetMonth: 'Dollars a month',
    upstream: 'Upstream credential', upstreamHint: 'NewAPI token sent in place of the key. Optional.', overlap: 'The old key stays valid for', overlapHint: 'So that its users have time to change it.', overlaps: { 0: 'no time', '1h': '1 hour', '24h': '24 hours', '7d': '7 days' },
    issued: (name: string): string => `The key ${name}`, shownOnce: 'This is the only time it is shown. Keep it now.', copyKey: 'Copy the key', kept: 'I have kept it',
  },

  bans: {
    title: 'Bans', add: 'Ban', none: 'Nobody is banned.', value: 'Who', valueHint: 'An address, a network such as 203.0.113.0/24, the name of a key, user:ID, or a token’s identity.', kind: 'Kind', kindHint: 'Only where the value does not tell.', byForm: 'as the value looks',
    kinds: { address: 'address', key: 'key', token: 'token' }, reason: 'Reason', created: 'Since', expires: 'Until', never: 'no end', lift: 'Lift', liftHint: 'Requests are served again, on every instance within two seconds.', lifted: 'The ban is lifted.', added: 'Banned.',
    force: 'Even this machine, or a very large network', hereAlone: 'These bans hold on this instance alone: without Redis there is nothing to share them over.',
  },

  targets: {
    title: 'Targets', none: 'There are no targets.', target: 'Target', state: 'State', states: { up: 'up', resting: 'resting', open: 'open', probing: 'probing' }, by: { traffic: 'by requests', probes: 'by probes' }, next: 'again', inHand: 'In hand', lastProbe: 'Last probe', alive: 'alive', dead: 'no answer',
    provider: 'Provider', credential: 'Credential', credentials: { caller: "the caller's", own: 'our own' }, weight: 'Weight', perModel: 'By model', perModelHint: 'models that do not work while their target does', allModelsUp: 'Every model works.', model: 'Model',
    queue: 'Queue', queueOff: 'The queue is switched off.', running: 'Running', waiting: 'Waiting', websockets: 'WebSockets', serviceTime: 'A request takes', ofCallers: (callers: number): string => `of ${callers} ${callers === 1 ? 'caller' : 'callers'}`,
    resize: 'Change the capacity', resizeHint: 'Takes effect at once. With queue.state_path it is kept over a restart.', resized: 'The capacity is changed.', concurrency: 'Model requests at a time',
  },

  health: {
    title: 'Health', status: 'Status', version: 'Version', uptime: 'Running for', mode: 'Mode', modes: { enforce: 'enforces', observe: 'observes only' }, inHand: 'Requests in hand', memory: 'Memory', registry: 'Keys and bans', works: 'works', unreadable: 'unreadable', away: 'does not answer', redis: 'Redis', notUsed: 'not used',
    watch: 'Watch', watchModes: { off: 'off', shadow: 'shadow', enforce: 'enforces' }, watched: (callers: string): string => `callers: ${callers}`, behind: (records: string): string => `${records} records behind`, readers: 'Readers of events',
    journal: 'Journal', journalStates: { open: 'open', idle: 'not opened yet', memory: 'in memory only', full: 'cannot be written', failed: 'failed' }, state: 'State', records: 'Records', written: 'Written since the start', waiting: 'Waiting to be written', size: 'Size', dropped: 'Lost',
    resources: 'Resources', resource: { memory: 'Memory', cpu: 'CPU', disk: 'Disk', latency: 'Event loop' }, ofThreshold: 'of', notMeasured: 'Not measured: server.health_check is off.',
    sinks: 'Sinks', sink: 'Sink', noSinks: 'Records go nowhere else.', sinkStates: { working: 'works', standby: 'another instance delivers', held: 'waits to try again', off: 'off' }, lag: 'Behind', delivered: 'Delivered', refusedBySink: 'Refused', failures: 'Failures',
    certificates: 'Certificates', certificate: 'Certificate', expires: 'Expires', routes: 'Checked routes', route: 'Route', checks: 'Checks', routeStates: { healthy: 'healthy', degraded: 'slow', unhealthy: 'down' },
  },

  settings: {
    title: 'Settings', inForce: 'In force', masked: 'secrets are masked', find: 'Find a setting', copyAll: 'Copy as JSON', values: (count: number): string => `${count}`, check: 'Check a configuration', checkHint: 'nothing of it takes effect',
    paste: 'YAML', pasteHint: 'Variables and files that it names are not read, no address is asked.', checkIt: 'Check', valid: 'valid', invalid: (problems: number): string => `${problems} ${problems === 1 ? 'problem' : 'problems'}`, warnings: 'Warnings', wouldBe: 'What it sets',
  },

  jobs: {
    title: 'Long work', hint: 'the server goes on when the page is closed', none: 'Nothing is running.', kind: 'Work', kinds: { verify: 'Verify the journal', export: 'Export', forget: 'Forget' }, progress: 'Progress', states: { running: 'running', done: 'done', failed: 'failed', cancelled: 'cancelled' },
    started: 'Begun', result: 'Result', remove: 'Remove', download: 'Download', export: 'Export', exportHint: 'Every record of this search with its content, oldest first.', format: 'Format', beginExport: 'Export',
    verify: 'Verify the journal', forget: 'Forget a caller …', forgetHint: 'Erases the personal data of a caller from the journal for good. The journal still verifies.', what: 'Whom', whats: { key: 'a key', token: 'a token', ip: 'an address', device: 'a device' }, value: 'Value',
  },

  me: {
    title: 'Your key', enter: 'Your API key', hint: 'It is sent to this server alone, and forgotten with this tab.', show: 'Show', forget: 'Forget the key', wrong: 'This key is not known here.', spend: 'Spend', today: 'Today', month: 'This month', limits: 'Limits', noLimits: 'There are no limits.', rule: 'Limit', limit: 'Allowed', remaining: 'Left',
    noRecords: 'Spend and requests cannot be shown at the moment. Try again later.',
    findings: 'What was noticed', noFindings: 'Nothing was noticed.', since: 'since', requests: 'Latest requests', noRequests: 'No requests yet.', actions: { none: '', flag: '', slow: 'Requests are slowed down.', limit: 'Requests are limited.', freeze: 'The key is frozen.' },
  },
};

export type Texts = typeof en;
export default en;
