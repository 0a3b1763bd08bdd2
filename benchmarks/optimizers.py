"""Rows for what happens between backward and the next forward: updates, clipping, forgetting gradients."""

from .harness import row

MANY = (100, 250, 200)  # parameters, and the shape of each: 5e6 values


def parameters_of(torch):
    count, *shape = MANY
    parameters = [torch.nn.Parameter(torch.randn(*shape)) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.randn(*shape)
    return parameters


def update(name, make_optimizer, least=1.0):
    @row("optimizers, 100 parameters, 5e6 values", name, least)
    def make(torch):
        parameters = parameters_of(torch)
        optimizer = make_optimizer(torch, parameters)

        def run():
            optimizer.step()
            return parameters[0]

        return run


update("AdamW", lambda torch, parameters: torch.optim.AdamW(parameters, lr=1e-3), 1.5)
update("Adam", lambda torch, parameters: torch.optim.Adam(parameters, lr=1e-3))
update("SGD", lambda torch, parameters: torch.optim.SGD(parameters, lr=1e-3))
update("SGD with momentum", lambda torch, parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9))


@row("optimizers, 100 parameters, 5e6 values", "clip_grad_norm_", 1.0)
def clip_grad_norm(torch):
    parameters = parameters_of(torch)
    return lambda: torch.nn.utils.clip_grad_norm_(parameters, 1e9)


@row("optimizers, 100 parameters, 5e6 values", "clip_grad_value_", 1.0)
def clip_grad_value(torch):
    parameters = parameters_of(torch)
    return lambda: torch.nn.utils.clip_grad_value_(parameters, 1.0)


@row("optimizers, 100 parameters, 5e6 values", "zero_grad(set_to_none=False)", 1.0)
def zero_grad(torch):
    parameters = parameters_of(torch)
    optimizer = torch.optim.SGD(parameters, lr=1e-3)

    def run():
        optimizer.zero_grad(set_to_none=False)
        return parameters[0].grad

    return run
