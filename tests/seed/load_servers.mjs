// Servers of other protocols for the load tester: `node load_servers.mjs KIND` prints its port.
// KIND: echo (raw), everyone (a chat without rooms), chat (plain JSON to everyone in a room), ask (JSON, replies by
// "ref"), graphql, socketio (a namespace is a room), phoenix, rpc (JSON-RPC), gateway (op codes), others (a chat without
// the sender), greeter (JSON, speaks first), strict (closes at once), refusing (HTTP 401), listener (answers nothing),
// and seed: session_created, and a pong without an id, as the TypeScript server has them.
// `node load_servers.mjs KIND FAULT`: one of `faults`, or die, stall, refuse, mute and greet.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { WebSocketServer } from "ws";

const [kind, fault] = process.argv.slice(2);
const http = createServer();
const sockets = [];
const everywhere = { count: 0 };
let heard = 0;

// Every tenth message is treated so: of what is one client's alone of all of them, else of those to its connection.
const others = (socket) => sockets.filter((other) => other !== socket && other.readyState === 1);
const another = (socket) => others(socket).find((other) => other.room !== socket.room) ?? others(socket)[0];
const number = /(wsctl\.\w+\.\d+\.\d+\.|wsctl-mark\.\w+\.\d+\.|"seq":)(\d+)/;
const faults = {
  lose: () => {},
  loseFirst: (send, frame, socket) => socket === sockets[1] || send(frame),
  double: (send, frame) => [send(frame), send(frame)],
  delay: (send, frame) => setTimeout(send, 300, frame),
  swap: (send, frame, socket) => (socket.held = { send: () => send(frame), since: setTimeout(release, 100, socket) }),
  misroute: (send, frame, socket) => another(socket).sendAsItIs(frame),
  leak: (send, frame, socket) => [send(frame), another(socket).sendAsItIs(frame)],
  garble: (send, frame) => send(frame.slice(0, -3)),
  binary: (send) => send(Buffer.from([0, 255])),
  wrongId: (send, frame) => send(frame.replace(/^43\d+/, "439999999999")),
  deface: (send, frame) => send(frame.replace(number, (_, head, seq) => head + (Number(seq) + 1))),
};

function release(socket) {
  const held = socket.held;
  socket.held = undefined;
  clearTimeout(held?.since);
  held?.send();
}

// What a frame is: the greeting, a message with the counter of its kind, or a step of the protocol (undefined).
function sorted(frame, socket) {
  if (kind === "socketio") {
    const greeting = /^40(\/[^,]*)?/.exec(frame);
    if (greeting) return (socket.room = greeting[1]), "greeting";
    return frame.startsWith("43") ? everywhere : frame.startsWith("42") ? socket.messages : undefined;
  }
  if (socket.isGreeted) {
    if (kind === "graphql" && !frame.includes('"type":"next"')) return undefined; // every second one says that all came
    return kind === "seed" && frame.includes('"pong"') ? everywhere : socket.messages;
  }
  socket.isGreeted = true;
  return "greeting";
}

function faulty(socket, request) {
  socket.room = request && new URL(request.url, "ws://here").searchParams.get("sessionId");
  const send = socket.send.bind(socket);
  const isFull = sockets.push(socket) > 3; // the first one is the probe before the load
  socket.messages = { count: 0 };
  socket.sendAsItIs = send;
  socket.send = (data, ...more) => {
    const frame = data.toString();
    const sort = sorted(frame, socket);
    const done = more.find((argument) => typeof argument === "function");
    if (sort === "greeting" && fault === "mute" && isFull) return done && setImmediate(done);
    if (sort === "greeting" && fault === "greet") send(data);
    if (sort?.count === undefined || ++sort.count % 10 || !faults[fault]) send(data, ...more);
    else {
      faults[fault](send, frame, socket);
      if (done) setImmediate(done);
      return;
    }
    if (socket.held) release(socket);
  };
  socket.on("message", () => {
    heard += 1;
    if (fault === "die" && heard === 150) process.exit(1);
    if (fault === "stall" && heard === 60) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  });
}

let asked = 0;
const isRefused = () => fault === "refuse" && ++asked > 3;

function plain(onConnection, options = {}) {
  const verifyClient = (_, answer) => (isRefused() ? answer(false, 503) : answer(true));
  const server = new WebSocketServer({ server: http, verifyClient, ...options });
  if (fault) server.on("connection", faulty);
  server.on("connection", onConnection);
  return server;
}

const kinds = {
  echo() {
    plain((socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })));
  },
  chat() {
    const rooms = new Map();
    plain((socket) => {
      let room;
      socket.on("message", (data) => {
        const said = JSON.parse(data);
        if (said.op === "join") {
          room = said.room;
          rooms.set(room, (rooms.get(room) ?? new Set()).add(socket));
          socket.send(JSON.stringify({ op: "joined", room }));
        } else {
          for (const member of rooms.get(room)) member.send(JSON.stringify({ op: "said", text: said.text }));
        }
      });
      socket.on("close", () => rooms.get(room)?.delete(socket));
    });
  },
  everyone() {
    const server = plain((socket) =>
      socket.on("message", (data) => {
        for (const member of server.clients) member.send(data.toString());
      }),
    );
  },
  ask() {
    plain((socket) =>
      socket.on("message", (data) => {
        const { action, ref, body } = JSON.parse(data);
        socket.send(JSON.stringify({ action: `${action}.done`, ref, body: { was: body, token: socket.token } }));
      }),
    );
  },
  async graphql() {
    const { buildSchema } = await import("graphql");
    const { useServer } = await import("graphql-ws/use/ws");
    const schema = buildSchema("type Query { hello(name: String): String } type Subscription { first: Int }");
    const first = async function* () {
      yield { first: 1 };
      await new Promise(() => {}); // the subscription goes on
    };
    useServer(
      { schema, roots: { query: { hello: ({ name }) => `hello ${name}` }, subscription: { first } } },
      plain(() => {}, { path: "/graphql" }),
    );
  },
  async socketio() {
    const { Server } = await import("socket.io");
    const allowRequest = (_, answer) => answer(null, !isRefused());
    const io = new Server(http, { transports: ["websocket"], allowRequest });
    if (fault)
      io.engine.on("connection", ({ transport }) => {
        transport._canSendPreEncodedFrame = () => false; // so that all goes through `send`
        faulty(transport.socket);
      });
    for (const space of [io, io.of(/^\/.+/)])
      space.on("connection", (socket) => {
        socket.on("echo", (data, reply) => reply(data));
        socket.on("say", (data) => socket.nsp.emit("said", data));
      });
  },
  phoenix() {
    // The frames of Phoenix' documentation, serializer 2.0.0.
    const topics = new Map();
    plain((socket) => {
      socket.on("message", (data) => {
        const [joinRef, ref, topic, event, payload] = JSON.parse(data);
        const members = topics.get(topic) ?? new Set();
        if (event === "phx_join") topics.set(topic, members.add(socket));
        const response = { status: "ok", response: {} };
        socket.send(JSON.stringify([joinRef, ref, topic, "phx_reply", response]));
        if (event === "new_msg")
          for (const member of members) member.send(JSON.stringify([null, null, topic, "new_msg", payload]));
      });
      socket.on("close", () => topics.forEach((members) => members.delete(socket)));
    }, { path: "/socket/websocket" });
  },
  rpc() {
    plain((socket) =>
      socket.on("message", (data) => {
        const { id, method, params } = JSON.parse(data);
        const error = { code: -32601, message: "Method not found" };
        const answer = method === "add" ? { result: params[0] + params[1] } : { error };
        socket.send(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
      }),
    );
  },
  greeter() {
    plain((socket) => {
      socket.send(JSON.stringify({ event: "welcome", payload: { you: "ada" } }));
      socket.on("message", (data) => {
        const { event, requestId, payload } = JSON.parse(data);
        socket.send(JSON.stringify({ event: `${event}-done`, requestId, payload }));
      });
    });
  },
  gateway() {
    // In the manner of Discord's: op, d, s and t; a hello with the interval of the heartbeats, without which it closes.
    const interval = 300;
    plain((socket) => {
      let beats = 1;
      let sequence = 0;
      const say = (op, d = null, t = null) =>
        socket.send(JSON.stringify({ op, d, s: t === null ? null : ++sequence, t }));
      const watch = setInterval(() => (beats-- > 0 ? 0 : socket.close(4009, "Session timed out")), 2 * interval);
      socket.on("close", () => clearInterval(watch));
      say(10, { heartbeat_interval: interval });
      socket.on("message", (data) => {
        const { op, d } = JSON.parse(data);
        if (op === 1) say(11, null, null, (beats = 1));
        else if (op === 2 && d.token !== "secret") socket.close(4004, "Authentication failed");
        else if (op === 2) say(0, { user: "ada" }, "READY"), say(1);
        else if (op === 8) say(0, { nonce: d.nonce, members: [] }, "GUILD_MEMBERS_CHUNK");
      });
    });
  },
  others() {
    // A chat that tells everyone but who spoke.
    const server = plain((socket) =>
      socket.on("message", (data) => {
        for (const member of server.clients) if (member !== socket) member.send(data.toString());
      }),
    );
  },
  strict() {
    plain((socket) => socket.close(1008, "who are you"));
  },
  refusing() {
    plain(() => {}, { verifyClient: (_, answer) => answer(false, 401) });
  },
  listener() {
    // Tells over HTTP what each connection asked for and said.
    const heard = [];
    http.on("request", (_, response) => response.end(JSON.stringify(heard)));
    plain((socket, request) => {
      const seen = { url: request.url, heard: [] };
      heard.push(seen);
      socket.on("message", (data) => seen.heard.push(data.toString()));
    });
  },
  seed() {
    const sessions = new Map();
    plain((socket, request) => {
      const sessionId = new URL(request.url, "ws://here").searchParams.get("sessionId") ?? randomUUID();
      const members = sessions.get(sessionId) ?? new Set();
      sessions.set(sessionId, members.add(socket));
      socket.on("close", () => members.delete(socket));
      const say = (to, type, data) => to.send(JSON.stringify({ type, timestamp: Date.now(), sessionId, data }));
      say(socket, "session_created", { sessionId, userId: "guest", isGuest: true });
      socket.on("message", (text) => {
        const { type, data } = JSON.parse(text);
        if (type === "ping") say(socket, "pong", { timestamp: Date.now() });
        if (type === "message") for (const member of members) say(member, "message", data);
      });
    });
  },
};

await kinds[kind]();
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
