// Interleave(phases...): puts the phases of a strided gradient together, in the layout in which they stand.
// With strides s and t element (y, x) of the output is element (y / s, x / t) of phase (y % s) t + x % t; phases that
// are not given are zero.
#include <algorithm>
#include <stdexcept>

#include "kernels.hpp"
#include "operator.hpp"

namespace onnxplain::operators {
namespace {

constexpr std::size_t piece = 1 << 14;

class Interleave final : public Kernel {
  public:
    explicit Interleave(const Attributes& attributes)
        : kernels_(chosen_kernels()), phases_(attributes.ints("phases")) {
        const std::vector<std::int64_t> stride = attributes.ints("stride"), lanes = attributes.ints("lanes");
        size_ = attributes.ints("size");
        if (stride.size() != 2 || size_.size() != 2 || lanes.size() != 1 || phases_.empty()) {
            throw std::invalid_argument("Interleave takes two strides, two sizes, phases, and one value of lanes");
        }
        const bool positive = stride[0] > 0 && stride[1] > 0 && size_[0] > 0 && size_[1] > 0;
        if (!positive || (lanes[0] != 1 && lanes[0] != 8 && lanes[0] != 16)) {
            throw std::invalid_argument("Interleave takes positive strides and sizes, and 1, 8 or 16 lanes");
        }
        for (std::int64_t phase : phases_) {
            if (phase < 0 || phase >= stride[0] * stride[1]) {
                throw std::invalid_argument("Interleave has no such phase");
            }
        }
        rows_ = stride[0];
        columns_ = stride[1];
        lanes_ = static_cast<std::size_t>(lanes[0]);
    }

    void compute(const Context& context) const override {
        const std::vector<Tensor> given = inputs(context);
        const std::int64_t height = size_[0], width = size_[1];
        float* out = context.output({given[0].dims[0], given[0].dims[1], height, width});
        const std::size_t planes = static_cast<std::size_t>(given[0].dims[0] * given[0].dims[1]) / lanes_;
        const std::size_t row = static_cast<std::size_t>(width) * lanes_;
        const std::size_t lines = planes * static_cast<std::size_t>(height);
        context.pieces(lines, piece / row + 1, [&](std::size_t start, std::size_t end) {
            std::vector<const float*> rows(static_cast<std::size_t>(columns_));
            std::vector<std::int64_t> widths(static_cast<std::size_t>(columns_));
            for (std::size_t line = start; line < end; ++line) {
                const std::int64_t plane = static_cast<std::int64_t>(line) / height;
                find(given, plane, static_cast<std::int64_t>(line) % height, rows, widths);
                kernels_.interleave(rows.data(), widths.data(), rows.size(), out + line * row, width, lanes_);
            }
        });
    }

  private:
    std::vector<Tensor> inputs(const Context& context) const {
        std::vector<Tensor> given;
        for (std::size_t i = 0; i < context.inputs(); ++i) {
            given.push_back(context.input(i));
            const std::vector<std::int64_t>& dims = given.back().dims;
            if (dims.size() != 4 || dims[0] != given[0].dims[0] || dims[1] != given[0].dims[1] ||
                dims[1] % static_cast<std::int64_t>(lanes_) != 0) {
                throw std::invalid_argument("Interleave takes phases [N,C,h,w] with as many channels as blocks hold");
            }
        }
        if (given.size() != phases_.size()) {
            throw std::invalid_argument("Interleave takes one input for each of its phases");
        }
        return given;
    }

    //! Finds the rows of the phases that make row `y` of a plane, by column; nullptr where there is none.
    void find(const std::vector<Tensor>& given, std::int64_t plane, std::int64_t y, std::vector<const float*>& rows,
              std::vector<std::int64_t>& widths) const {
        std::fill(rows.begin(), rows.end(), nullptr);
        for (std::size_t i = 0; i < given.size(); ++i) {
            const std::int64_t h = given[i].dims[2], w = given[i].dims[3];
            if (phases_[i] / columns_ == y % rows_ && y / rows_ < h) {
                const std::size_t column = static_cast<std::size_t>(phases_[i] % columns_);
                rows[column] = given[i].data + static_cast<std::size_t>((plane * h + y / rows_) * w) * lanes_;
                widths[column] = w;
            }
        }
    }

    const Kernels& kernels_;
    std::vector<std::int64_t> phases_, size_;
    std::int64_t rows_ = 1, columns_ = 1;
    std::size_t lanes_ = 1;
};

std::unique_ptr<Kernel> create(const Attributes& attributes) { return std::make_unique<Interleave>(attributes); }

}  // namespace

const Definition& interleave() {
    static const Definition definition{"Interleave", 0, false, false, create};
    return definition;
}

}  // namespace onnxplain::operators
