// Servers of other protocols for the load tester: `node load_servers.mjs KIND` prints its port.
// KIND: echo (raw), chat (plain JSON to everyone in a room), ask (JSON, replies by "ref"), graphql, socketio, phoenix,
// rpc (JSON-RPC), gateway (op codes), others (a chat without the sender), greeter (JSON, speaks first), strict (closes at
// once), refusing (HTTP 401), listener (answers nothing), and seed: session_created, and a pong without an id, as the
// TypeScript server has them. `node load_servers.mjs KIND FAULT`: lose, double or delay every tenth message.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { WebSocketServer } from "ws";

const [kind, fault] = process.argv.slice(2);
const http = createServer();

// Of what a connection sends after its first message every tenth one is treated so.
const faults = {
  lose: () => {},
  double: (send) => [send(), send()],
  delay: (send) => setTimeout(send, 300),
};

function faulty(socket) {
  const send = socket.send.bind(socket);
  let count = 0;
  socket.send = (...frame) => {
    count += 1;
    if (count > 1 && count % 10 === 0) faults[fault](() => send(...frame));
    else send(...frame);
  };
}

function plain(onConnection, options = {}) {
  const server = new WebSocketServer({ server: http, ...options });
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
    const schema = buildSchema("type Query { hello(name: String): String }");
    useServer(
      { schema, rootValue: { hello: ({ name }) => `hello ${name}` } },
      plain(() => {}, { path: "/graphql" }),
    );
  },
  async socketio() {
    const { Server } = await import("socket.io");
    new Server(http, { transports: ["websocket"] }).on("connection", (socket) => {
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
    plain((socket) => {
      const say = (type, data) => socket.send(JSON.stringify({ type, timestamp: Date.now(), data }));
      say("session_created", { sessionId: randomUUID(), userId: "guest", isGuest: true });
      socket.on("message", (data) => {
        if (JSON.parse(data).type === "ping") say("pong", { timestamp: Date.now() });
      });
    });
  },
};

await kinds[kind]();
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
