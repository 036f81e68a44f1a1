import type { Texts } from './en.ts';

/** The texts of the page in simplified Chinese. A missing one is a type error. */
const zh: Texts = {
  loading: '加载中…', again: '重试', unreachable: '网关没有响应。恢复后页面会自动继续。', tryAgainIn: (time) => `请在 ${time}后重试。`,
  readOnly: '只读：此登录不能更改任何内容。', close: '关闭', cancel: '取消', copy: '复制', copied: '已复制。', notCopied: '浏览器仅允许在 HTTPS 或 localhost 下复制，请手动选择文本。',
  more: '显示更多', searchOn: '继续搜索', stopped: '搜索超时，尚未读完全部记录。', yes: '是', no: '否', noRecords: '记录暂时无法读取，此页仅显示本实例自身的数据。',
  skip: '跳到内容', navigation: '面板', preferences: '语言和时间', language: '语言', timeZone: '时区', thisBrowser: (zone) => `此浏览器（${zone}）`,
  logIn: '登录', logOut: '退出登录', adminToken: '管理令牌', accessToken: '访问令牌', newapiUser: 'NewAPI 用户 ID',
  loginToken: '令牌即配置中的 admin.token；只读查看可用 admin.read_token。', loginNewapi: '请在此浏览器中以管理员身份登录 NewAPI，或输入管理员的访问令牌。', wrongToken: '令牌不正确。', loginEnded: '登录已结束。',
  newapiStays: '此浏览器仍登录在 NewAPI 中，重新打开本页即可进入。若要结束，请在 NewAPI 中退出登录。',
  newVersion: '页面的一部分无法加载：网关没有响应，或已更新。', reload: '重新加载页面',
  commandLine: '命令行：', copyLine: '复制命令行', connected: '正在接收事件', notConnected: '当前没有接收事件',
  ends: { '15m': '15 分钟', '1h': '1 小时', '4h': '4 小时', '24h': '24 小时', '7d': '7 天', '30d': '30 天', '': '不结束' },

  overview: {
    title: '概览', status: { healthy: '正常', degraded: '降级', unavailable: '不可用', draining: '正在关闭' }, nothingWrong: '一切正常。',
    toLookAt: (problems, findings) => [problems > 0 ? `${problems} 个问题` : '', findings > 0 ? `${findings} 个未处理的发现` : ''].filter(Boolean).join('，') || '有情况需要查看。',
    problem: { target_down: '目标不可用', breaker_open: '熔断器已断开', journal: '日志', sink: '接收端', redis: 'Redis', resource: '资源不足', registry: '密钥与封禁无法读取', records: '记录无法读取', certificate: '证书', draining: '正在关闭' },
    observes: '网关处于观察模式：不拒绝任何请求，只记录本应拒绝的请求。', thisInstance: '仅为此实例的数据。', allInstances: '所有实例的数据，来自 PostgreSQL。目标、队列和实时记录仅为此实例的。',
    requests: '请求', errors: '错误', refused: '已拒绝', overhead: '增加的延迟', spend: '今日花费', open: '未处理的发现', inHand: '正在处理', waiting: (waiting) => `${waiting} 个等待中`, thisMonth: (sum) => `本月 ${sum}`,
    onLastWeek: (change) => `较上周 ${change}`, asLastWeek: '与上周相同', noneLastWeek: '上周没有', latest: '最新发现', nothingFound: '没有发现异常。',
    course: '时间趋势', range: '范围', ranges: { '1h': '最近一小时', '24h': '24 小时', '7d': '7 天', '30d': '30 天' }, per: { minute: '（每分钟）', hour: '（每小时）', day: '（每天）' },
    all: '全部', latency: '延迟', toFirstByte: '到首字节', added: '网关增加', dollars: '美元', cost: '花费',
  },

  findings: {
    title: '发现', hereAlone: '对发现采取的措施仅在此实例生效：没有 Redis，无法共享。', elsewhere: '由另一实例发现，须在该实例处理：', none: '没有发现。', everyState: '所有状态', everyRule: '所有规则', rule: '发现', caller: '调用方', score: '分数', since: '开始', state: '状态', does: '操作', until: '直到', would: (action) => `本会${action}`,
    states: { open: '未处理', acknowledged: '已查看', undone: '已撤销', false_positive: '误报', over: '已结束' }, actions: { none: '不处理', flag: '标记', slow: '减速', limit: '限制', freeze: '冻结' },
    rules: {
      shared_key: '共享密钥', stolen_key: '密钥被盗', spend_velocity: '花费骤增', request_rate: '请求骤增', credential_stuffing: '猜测密钥', key_spraying: '尝试多个密钥', failure_burst: '连续失败',
      content_repetition: '内容重复', scanning: '扫描', impossible_travel: '不可能的移动', client_forgery: '伪造的客户端', leaked_key: '密钥泄露', honey_key: '诱饵密钥',
    },
    undo: '撤销', act: '处理…', falsePositive: '误报', ban: '封禁…', acknowledge: '标为已查看', evidence: '证据', because: '原因', seen: '证据',
    counts: (requests, devices, networks, sessions) => `${requests} 个请求，${devices} 台设备，${networks} 个网络，${sessions} 个会话`,
    baseline: '平时', baselines: {
      devices_at_once: '台设备同时', devices_a_day: '台设备每天', networks_a_day: '个网络每天', sessions_at_once: '个会话同时', spend_an_hour: '美元每小时', two_minutes: '每两分钟', an_hour: '每小时',
      paths: '个路径', tokens: '个密钥', failures: '次失败', requests: '个请求', returns: '次往返', strangers: '个未知密钥', callers: '个调用方', times: '次',
    }, note: '备注', rests: '静默至', action: '措施', end: '结束', reason: '原因', reasonHint: '仅运维人员可见。', isDone: (what) => `已完成：${what}。`,
    doing: {
      undo: { title: '撤销措施', hint: '两秒内所有实例恢复为该调用方服务，30 天内同样的模式不再提示。', button: '撤销' },
      act: { title: '处理此发现', hint: '措施会自动结束，也可随时撤销。', button: '处理' },
      'false-positive': { title: '标为误报', hint: '措施立即结束，30 天内此调用方的同样模式不再提示。', button: '误报' },
      acknowledge: { title: '标为已查看', hint: '仍保留在列表中，但不再是未处理。', button: '标为已查看' },
      ban: { title: '封禁调用方', hint: '从现在起拒绝其请求，并中断正在进行的请求。', button: '封禁' },
    },
  },

  callers: {
    title: '调用方', caller: '调用方', all: '所有调用方', find: '名称、身份或网络', none: '还没有调用方。', nothing: '无。', kinds: { key: '密钥', token: '令牌', network: '网络', content: '内容' },
    identity: '身份', newapi: 'NewAPI 中', requests: '请求', tokens: '令牌数 入 / 出', spend: '花费', spendNow: '限额内花费', dayAndMonth: (day, month) => `今日 ${day}，本月 ${month}`,
    since: '起 – 止', last: '最近', timeline: '一周内每小时', thisWeek: (sum, most) => `${sum} 个请求，每小时最多 ${most}`,
    limits: '限额', rule: '规则', limit: '上限', remaining: '剩余', models: '模型', networks: '地址', clients: '程序', devices: '设备', sessions: '会话', homes: '主目录',
  },

  requests: {
    title: '请求', search: '搜索', clear: '清除', export: '导出…', live: '实时', further: '更多筛选', any: '任意', grepHint: '正文中的文本', order: '顺序', newest: '最新在前', oldest: '最早在前', own: '网关自身的请求', ownLeftOut: '不显示', ownShown: '包含网关自身的请求', without: '移除此筛选',
    none: '没有匹配的请求。', time: '时间', status: '状态码', outcome: '结果', took: '耗时', caller: '调用方', address: '地址', model: '模型', target: '目标', tokens: '令牌数', cost: '费用', path: '路径',
    outcomes: { served: '已服务', refused: '已拒绝', failed: '任何错误', upstream_error: '上游错误', aborted: '已中止', interrupted: '已中断' },
    filters: {
      from: '从', to: '到', key: '密钥或令牌', username: '用户名', token_name: '令牌名', address: '地址或网络', model: '模型', status: '状态码', outcome: '结果', target: '目标', grep: '正文中的文本', client: '程序', route: '路由',
      device: '设备指纹', session: '会话', device_id: '声明的设备', session_id: '声明的会话', home_id: '声明的主目录', content: '内容', user: '用户编号', source: '来源', request_id: '请求 ID', upstream_request_id: 'NewAPI 请求 ID',
    },
    listening: '正在接收', rate: (requests: string, shown: string, inHand: string, waiting: string): string => `最近一秒 ${requests} 个请求，显示其中 ${shown} 个 · 处理中 ${inHand}，等待 ${waiting}`,
    notLive: (names) => `实时视图不支持这些筛选：${names}。`, waitingForRequests: '请求结束后会出现在这里。',
  },

  record: {
    title: '请求', outcome: '结果', caller: '调用方', request: '请求', times: '时间', usage: '用量', status: '状态码', ended: '结束', target: '目标', attempts: '尝试次数', upstreamId: 'NewAPI ID', username: 'NewAPI 中', address: '地址', chain: '转发链',
    client: '程序', userAgent: 'User-Agent', device: '设备指纹', session: '会话', deviceId: '声明的设备', sessionId: '声明的会话', homeId: '声明的主目录', ja4: 'JA4', path: '路径', query: '查询', route: '路由', model: '模型', stream: '流式',
    content: '内容', source: '来源', arrived: '到达', took: '耗时', queued: '排队', firstByte: '到首字节', added: '网关增加', tokens: '令牌数 入 / 出', cost: '费用（估算）', charged: 'NewAPI 扣费', bytes: '字节 入 / 出',
    reserved: '令牌数 预留 / 结算 / 释放', wouldRefuse: '本会被以下规则拒绝', learnt: '之后得知', headers: '请求头', cookies: 'Cookie（哈希）', body: '正文', answer: '响应',
  },

  keys: {
    title: '密钥', create: '新建密钥', none: '没有密钥。', notAccepted: '这些密钥目前无效：auth.mode 为 passthrough，只由 NewAPI 检查凭据。将 auth.mode 设为 keys 或 jwt 后才会接受。', lastKnown: '密钥与封禁暂时无法读取。此处为最后已知的内容，仍然生效。', name: '名称', nameHint: '唯一，记录中会带有它。', state: '状态', states: { active: '有效', disabled: '已停用', expired: '已过期', rotating: '旧密钥仍有效' },
    limits: '限额', models: '模型', cidrs: '地址', expires: '过期', digest: '摘要', does: '操作', configured: '来自配置', every: '全部', never: '永不', unlimited: '无单独限额',
    perWindow: (limit, window) => `${limit} 个请求 / ${window}`, tokensPerWindow: (limit, window) => `${limit} 令牌 / ${window}`, atOnce: (limit) => `同时 ${limit} 个`, aDay: (sum) => `每天 ${sum}`, aMonth: (sum) => `每月 ${sum}`,
    doing: {
      create: { title: '新建密钥', hint: '留空表示不限制。', button: '创建密钥' }, edit: { title: '更改', hint: '留空即取消该限制。', button: '更改' },
      rotate: { title: '轮换', hint: '新密钥将取代旧密钥。', button: '轮换' }, disable: { title: '停用', hint: '拒绝此密钥并中断其正在进行的请求，可再次启用。', button: '停用' },
      enable: { title: '启用', hint: '重新接受此密钥。', button: '启用' }, revoke: { title: '吊销', hint: '永久删除此密钥并中断其正在进行的请求。', button: '吊销' },
    },
    expiresHint: '日期，或如 30d 的时长。留空：永不。', listHint: '用逗号分隔。留空：全部。', requests: '请求', tokens: '令牌数', windowHint: '数量 / 时间窗，例如 60/1m。', concurrency: '同时请求数', budgetDay: '每天美元', budgetMonth: '每月美元',
    upstream: '上游凭据', upstreamHint: '代替此密钥发送的 NewAPI 令牌，可选。', overlap: '旧密钥继续有效', overlapHint: '让使用者有时间更换。', overlaps: { 0: '不保留', '1h': '1 小时', '24h': '24 小时', '7d': '7 天' },
    issued: (name) => `密钥 ${name}`, shownOnce: '密钥只显示这一次，请立即保存。', copyKey: '复制密钥', kept: '我已保存',
  },

  bans: {
    title: '封禁', add: '封禁', none: '没有封禁。', value: '对象', valueHint: '地址、网络（如 203.0.113.0/24）、密钥名称、user:ID 或令牌身份。', kind: '类型', kindHint: '仅在无法从值判断时需要。', byForm: '按值判断',
    kinds: { address: '地址', key: '密钥', token: '令牌' }, reason: '原因', created: '开始', expires: '直到', never: '不结束', lift: '解除', liftHint: '两秒内所有实例恢复服务。', lifted: '封禁已解除。', added: '已封禁。',
    force: '即使是本机或非常大的网络', hereAlone: '这些封禁仅在此实例生效：没有 Redis，无法共享。',
  },

  targets: {
    title: '目标', none: '没有目标。', target: '目标', state: '状态', states: { up: '可用', resting: '休息', open: '断开', probing: '试探' }, by: { traffic: '因请求', probes: '因探测' }, next: '再试', inHand: '处理中', lastProbe: '上次探测', alive: '存活', dead: '无响应',
    provider: '提供方', credential: '凭据', credentials: { caller: '调用方的', own: '自有的' }, weight: '权重', perModel: '按模型', perModelHint: '目标可用而模型不可用', allModelsUp: '所有模型都可用。', model: '模型',
    queue: '队列', queueOff: '队列已关闭。', running: '运行中', waiting: '等待中', websockets: 'WebSocket', serviceTime: '单个请求耗时', ofCallers: (callers) => `来自 ${callers} 个调用方`,
    resize: '更改容量', resizeHint: '立即生效。设置 queue.state_path 后重启仍保留。', resized: '容量已更改。', concurrency: '同时的模型请求数',
  },

  health: {
    title: '健康', status: '状态', version: '版本', uptime: '已运行', mode: '模式', modes: { enforce: '执行', observe: '仅观察' }, inHand: '处理中的请求', memory: '内存', registry: '密钥与封禁', works: '正常', unreadable: '无法读取', away: '没有响应', redis: 'Redis', notUsed: '未使用',
    watch: '监视', watchModes: { off: '关闭', shadow: '影子', enforce: '执行' }, watched: (callers) => `${callers} 个调用方`, behind: (records) => `落后 ${records} 条记录`, readers: '事件读者',
    journal: '日志', journalStates: { open: '已打开', idle: '尚未打开', memory: '仅在内存', full: '无法写入', failed: '失败' }, state: '状态', records: '记录', written: '启动后写入', waiting: '等待写入', size: '大小', dropped: '丢失',
    resources: '资源', resource: { memory: '内存', cpu: 'CPU', disk: '磁盘', latency: '事件循环' }, ofThreshold: '/', notMeasured: '未测量：server.health_check 已关闭。',
    sinks: '接收端', sink: '接收端', noSinks: '记录不发往别处。', sinkStates: { working: '正常', standby: '由其他实例发送', held: '等待重试', off: '关闭' }, lag: '落后', delivered: '已送达', refusedBySink: '被拒绝', failures: '失败',
    certificates: '证书', certificate: '证书', expires: '过期', routes: '受检路由', route: '路由', checks: '检查', routeStates: { healthy: '正常', degraded: '缓慢', unhealthy: '不可用' },
  },

  settings: {
    title: '设置', inForce: '当前生效', masked: '密钥已遮盖', find: '查找设置', copyAll: '复制为 JSON', values: (count) => `${count}`, check: '检查配置', checkHint: '不会生效',
    paste: 'YAML', pasteHint: '不读取其中的变量和文件，不访问任何地址。', checkIt: '检查', valid: '有效', invalid: (problems) => `${problems} 个问题`, warnings: '警告', wouldBe: '其中的设置',
  },

  jobs: {
    title: '长时间任务', hint: '关闭页面后服务器仍会继续', none: '没有任务。', kind: '任务', kinds: { verify: '校验日志', export: '导出', forget: '遗忘' }, progress: '进度', states: { running: '进行中', done: '完成', failed: '失败', cancelled: '已取消' },
    started: '开始', result: '结果', remove: '移除', download: '下载', export: '导出', exportHint: '此搜索的全部记录及其内容，最早在前。', format: '格式', beginExport: '导出',
    verify: '校验日志', forget: '遗忘调用方…', forgetHint: '从日志中永久删除调用方的个人数据，日志仍可校验。', what: '对象', whats: { key: '密钥', token: '令牌', ip: '地址', device: '设备' }, value: '值',
  },

  me: {
    title: '您的密钥', enter: '您的 API 密钥', hint: '只发送给此服务器，关闭标签页后即忘记。', show: '显示', forget: '忘记密钥', wrong: '此处不认识这个密钥。', spend: '花费', today: '今日', month: '本月', limits: '限额', noLimits: '没有限额。', rule: '限额', limit: '允许', remaining: '剩余',
    noRecords: '花费和请求暂时无法显示，请稍后再试。',
    findings: '注意到的情况', noFindings: '没有注意到异常。', since: '自', requests: '最近的请求', noRequests: '还没有请求。', actions: { none: '', flag: '', slow: '请求已被减速。', limit: '请求已被限制。', freeze: '密钥已被冻结。' },
  },
};

export default zh;
