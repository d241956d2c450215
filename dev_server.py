import asyncio, sys, json
sys.path.insert(0,'tests')
from pathlib import Path
from aiohttp import web
from clients.backend import KEY, Parrot
from support import listening, ROOT
from oaiproxy.loader import Loader
from oaiproxy.app import serve
from oaiproxy.config import Config, Server
from oaiproxy.endpoints.doors import DOORS
async def main():
    async with listening(Parrot().app()) as url:
        mappings,_ = Loader({"RULES_URL":url,"RULES_KEY":KEY}).load([("rules", ROOT/"tests/clients/rules.yaml")])
        async with serve(Config([], Server(port=0)), mappings) as r:
            Path('/tmp/h/cl_env.sh').write_text(f"export PROXY_URL={r.url} BACKEND_URL={url} PROXY_DOORS={','.join(DOORS)}\n")
            await asyncio.sleep(3000)
asyncio.run(main())
