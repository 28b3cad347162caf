// Servers of other makes on a free port of 127.0.0.1, which is printed: `node foreign_servers.mjs NAME`.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const seen = [];
const http = createServer((request, response) => response.end(JSON.stringify(seen)));
const note = (request) => seen.push(request.url);

const servers = {
  // A plain echo of ws, text and binary; it says nothing first.
  echo: () =>
    new WebSocketServer({ server: http }).on("connection", (socket, request) => {
      note(request);
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    }),
  // A chat of JSON objects: a welcome, replies with the id of their request, its own heartbeat, a close code of its own.
  chat: () =>
    new WebSocketServer({ server: http }).on("connection", (socket, request) => {
      note(request);
      socket.send(JSON.stringify({ event: "welcome", payload: { you: "ada" } }));
      socket.on("message", (data) => {
        const text = data.toString();
        if (text === "bye") return socket.close(4001, "Session expired");
        if (text === "yes") return socket.send('{"event":"alive"}');
        const { event, requestId, payload } = JSON.parse(text);
        if (event === "beat") return socket.send('{"event":"are-you-there"}');
        socket.send(JSON.stringify({ event: `${event}-done`, requestId, payload: { id: 42, was: payload } }));
      });
    }),
  socketio: async () => {
    const { Server } = await import("socket.io");
    const io = new Server(http, { pingInterval: 200, pingTimeout: 5000 });
    io.on("connection", (socket) => {
      note(socket.request);
      socket.emit("news", { hello: socket.handshake.auth.name ?? "nobody" });
      socket.on("say", (...items) => {
        const answer = typeof items.at(-1) === "function" ? items.pop() : undefined;
        if (answer) answer({ got: items });
        else socket.emit("said", ...items);
      });
      socket.on("bytes", () => socket.emit("file", Buffer.from([1, 2, 255])));
      socket.on("wait", () => setTimeout(() => socket.emit("waited", 1), 900));
    });
    io.of("/admin").use((socket, next) => next(new Error("not you")));
  },
  graphql: async () => {
    const { useServer } = await import("graphql-ws/use/ws");
    const { buildSchema } = await import("graphql");
    const schema = buildSchema("type Query { hello: String } type Subscription { count(to: Int!): Int }");
    const roots = {
      query: { hello: () => "world" },
      subscription: {
        count: async function* ({ to }) {
          for (let count = 1; count <= to; count++) yield { count };
        },
      },
    };
    const server = new WebSocketServer({ server: http });
    server.on("connection", (_, request) => note(request));
    useServer({ schema, roots, onConnect: ({ connectionParams }) => connectionParams?.token !== "bad" }, server, 200);
  },
  // The frames that Phoenix documents for its serializer 2.0.0.
  phoenix: () =>
    new WebSocketServer({ server: http }).on("connection", (socket, request) => {
      note(request);
      socket.on("message", (data) => {
        const [joinRef, ref, topic, event, payload] = JSON.parse(data.toString());
        const reply = (status, response) =>
          socket.send(JSON.stringify([joinRef, ref, topic, "phx_reply", { status, response }]));
        if (topic === "phoenix") return reply("ok", {});
        if (event === "phx_join") return topic === "room:secret" ? reply("error", { reason: "unauthorized" }) : reply("ok", {});
        reply("ok", { id: 7 });
        socket.send(JSON.stringify([joinRef, null, topic, event, payload]));
      });
    }),
  jsonrpc: () =>
    new WebSocketServer({ server: http }).on("connection", (socket, request) => {
      note(request);
      socket.on("message", (data) => {
        const { id, method, params } = JSON.parse(data.toString());
        const answer = method === "subtract" ? { result: params[0] - params[1] } : { error: { code: -32601, message: "Method not found" } };
        socket.send(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
      });
    }),
};

await servers[process.argv[2]]();
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
